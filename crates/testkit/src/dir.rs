//! Folders that disappear.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh folder below the system's temporary one, removed on drop.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes the folder. `what` only helps a person who looks at a leftover.
    pub fn new(what: &str) -> Self {
        let base = std::env::temp_dir();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("portcullis-{what}-{}-{number}", std::process::id()));
            let made = std::fs::create_dir(&path);
            // A leftover of an earlier process with the same number is passed over.
            if made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
                continue;
            }
            made.expect("a temporary folder can be made");
            return Self { path };
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, making folders on the way, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("folders below a temporary folder can be made");
        }
        std::fs::write(&path, content).expect("a file in a temporary folder can be written");
        path
    }

    /// Replaces a file by rename, as editors and deployment tools do.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let fresh = self.write(&format!("{name}.new"), content);
        let path = self.path.join(name);
        std::fs::rename(fresh, &path).expect("a file in a temporary folder can be renamed");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_distinct_and_removed() {
        let first = TempDir::new("dir");
        let second = TempDir::new("dir");
        assert_ne!(first.path(), second.path());
        let file = first.write("a/b.txt", "one");
        assert_eq!(std::fs::read_to_string(first.replace("a/b.txt", "two")).unwrap(), "two");
        drop(first);
        assert!(!file.exists());
    }
}
