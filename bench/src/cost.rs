//! CPU time of a process and its children, from `/proc`.

use std::fs;

use crate::{Result, text};

/// Microseconds of user and system time of `pid` and everything below it, all threads, also those that ended.
pub(crate) fn cpu_micros(pid: u32) -> Result<u64> {
    let mut sum = 0;
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        sum += ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).map_err(text)?).ok_or("stat")?;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    // USER_HZ is 100 on every Linux that we know of: a tick is 10 ms.
    Ok(sum * 10_000)
}

/// utime + stime: fields 14 and 15; the name in field 2 may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_fields_are_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 1 0 9 9 9";
        assert_eq!(ticks(stat), Some(150));
        assert!(cpu_micros(std::process::id()).is_ok());
    }
}
