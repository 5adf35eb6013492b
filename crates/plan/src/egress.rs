//! Which URLs of requests may be handed on (egress.md §§ 3, 5).

use ipnet::IpNet;

/// Rules for URLs that come as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// By name; the built-in ones first.
    pub policies: Vec<UrlPolicy>,
    /// Index of the policy for places that nobody marked.
    pub inferred: usize,
    /// Operation and place (`avatarUrl`, `items/link`) that are not checked (loosening `unchecked_url`).
    pub unchecked: Vec<(Box<str>, Box<str>)>,
    /// `egress.deny`.
    pub deny: Vec<IpNet>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Its name.
    pub name: Box<str>,
    /// Lower case.
    pub schemes: Vec<Box<str>>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Patterns of hosts: `*`, `*.example.com`, `example.com`.
    pub allow: Vec<Box<str>>,
    /// Wins.
    pub deny: Vec<Box<str>>,
    /// Names are resolved and judged.
    pub resolve: bool,
    /// Addresses may stand in place of a name.
    pub literal_ip: bool,
}

impl Egress {
    /// The names that documents may use.
    pub fn names(&self) -> Vec<Box<str>> {
        self.policies.iter().map(|policy| policy.name.clone()).collect()
    }
}

impl UrlPolicy {
    /// `https`, port 443, any public name.
    pub fn public(name: &str) -> Self {
        Self {
            name: name.into(),
            schemes: vec!["https".into()],
            ports: vec![443],
            allow: vec!["*".into()],
            deny: Vec::new(),
            resolve: true,
            literal_ip: false,
        }
    }
}
