//! The table of floors: an arrow only points down, and nobody sees a neighbour.
#![expect(
    clippy::indexing_slicing,
    reason = "a name that a serde_json::Value lacks gives null, never a panic"
)]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process;

/// The law: pure crates.
const LAW: &[&str] = &["jose", "contract", "authority", "relations", "limits", "seal", "saml", "detect"];

/// What each crate of ours may depend on, of ours. A crate that is not here is refused: name its floor first.
/// `portcullis`, `xtask`, `bench` and `shop` stand above or beside the floors.
const FLOORS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("jose", &["core"]),
    ("contract", &["core"]),
    ("relations", &["core"]),
    ("limits", &["core"]),
    ("seal", &["core"]),
    ("saml", &["core"]),
    ("detect", &["core"]),
    ("authority", &["core", "relations"]),
    ("plan", &["core", "@law"]),
    ("config", &["core", "@law", "plan"]),
    ("store", &["core", "@law"]),
    ("egress", &["core"]),
    ("telemetry", &["core", "egress"]),
    ("vault", &["core", "seal", "jose", "egress", "store"]),
    ("watch", &["core", "detect", "egress", "store", "telemetry"]),
    ("gateway", &["core", "@law", "plan", "store", "egress", "vault", "telemetry"]),
    ("identity", &["core", "jose", "saml", "limits", "store", "egress", "vault", "telemetry"]),
    ("admin", &["core", "plan", "config", "store", "vault", "telemetry"]),
    ("downstream", &["jose"]),
    ("testkit", &[]),
    ("shop", &[]),
    ("signing-example", &[]),
    ("bench", &["testkit", "core", "jose"]),
];

/// Crates that read no file, open no socket, ask no clock.
const PURE: &[&str] =
    &["core", "plan", "jose", "contract", "authority", "relations", "limits", "seal", "saml", "detect"];

/// What must not be found below a pure crate, at any depth.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "rustls",
    "tokio-rustls",
    "h2",
    "rusqlite",
    "libsqlite3-sys",
    "tokio-postgres",
    "redis",
    "async-std",
    "mio",
    "socket2",
];

/// What must not be found anywhere (house rules; `deny.toml` says the same to cargo-deny).
const BANNED: &[&str] =
    &["openssl", "openssl-sys", "native-tls", "ring", "serde_yaml", "reqwest", "lazy_static"];

/// Every breach of the table, as lines.
pub(crate) fn breaches() -> crate::Result<Vec<String>> {
    let metadata = process::output(&mut process::cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--no-deps",
    ]))?;
    let metadata: Value =
        serde_json::from_slice(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<String> = packages.iter().flat_map(arrows).collect();
    for pure in PURE.iter().filter(|pure| packages.iter().any(|p| p["name"] == format!("portcullis-{pure}")))
    {
        found.extend(impurities(
            pure,
            &tree(&["--package", &format!("portcullis-{pure}"), "--edges", "normal"])?,
        ));
    }
    found.extend(bans(&tree(&["--workspace"])?));
    Ok(found)
}

/// Names of all packages that are really built. (The graph of `cargo metadata` also has what no feature asks for.)
fn tree(options: &[&str]) -> crate::Result<BTreeSet<String>> {
    let mut command = process::cargo(&["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
    let text = process::output(command.args(options))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn impurities(name: &str, below: &BTreeSet<String>) -> Vec<String> {
    let found = IMPURE.iter().filter(|impure| below.contains(**impure));
    found
        .map(|impure| {
            format!("{name} is pure, but {impure} is below it (cargo tree -p portcullis-{name} -i {impure})")
        })
        .collect()
}

fn bans(all: &BTreeSet<String>) -> Vec<String> {
    let found = BANNED.iter().filter(|banned| all.contains(**banned));
    found
        .map(|banned| format!("{banned} is banned, but in the tree (cargo tree --workspace -i {banned})"))
        .collect()
}

fn arrows(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some(short) = name.strip_prefix("portcullis-") else { return Vec::new() };
    let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == short) else {
        return vec![format!("{name} is on no floor: add it to xtask/src/floors.rs")];
    };
    let allowed: BTreeSet<&str> =
        allowed.iter().flat_map(|entry| if *entry == "@law" { LAW.to_vec() } else { vec![*entry] }).collect();
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let Some(ours) = dependency["name"].as_str().and_then(|n| n.strip_prefix("portcullis-")) else {
            continue;
        };
        let for_tests = dependency["kind"].as_str() == Some("dev");
        let testing = for_tests && matches!(ours, "testkit" | "shop");
        if !testing && !allowed.contains(ours) {
            found.push(format!("{short} may not depend on {ours}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arrow(name: &str, dependency: &str, kind: Option<&str>) -> usize {
        arrows(&json!({ "name": name, "dependencies": [{ "name": dependency, "kind": kind }] })).len()
    }

    #[test]
    fn arrows_point_down_only() {
        assert_eq!(arrow("portcullis-gateway", "portcullis-core", None), 0);
        assert_eq!(arrow("portcullis-gateway", "portcullis-contract", None), 0);
        assert_eq!(arrow("portcullis-gateway", "portcullis-config", None), 1);
        assert_eq!(arrow("portcullis-core", "portcullis-jose", None), 1);
        assert_eq!(arrow("portcullis-core", "portcullis-testkit", Some("dev")), 0);
        assert_eq!(arrow("portcullis-core", "portcullis-testkit", None), 1);
        assert_eq!(arrow("portcullis-attic", "portcullis-core", None), 1, "a crate on no floor");
        assert_eq!(arrow("portcullis", "portcullis-config", None), 0, "the roof sees all");
    }

    #[test]
    fn purity_and_bans_are_by_name() {
        let tree = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(impurities("limits", &tree(&["smallvec", "tokio"])).len(), 1);
        assert_eq!(bans(&tree(&["openssl", "serde"])).len(), 1);
        assert_eq!(bans(&tree(&["tokio"])).len(), 0);
    }
}
