//! Where URLs that come in requests may lead.

use super::desk::{Desk, Terms};
use crate::words::At;
use crate::words::egress::{Egress as Words, UrlPolicy as PolicyWords};
use portcullis_plan::egress::{Egress, UrlPolicy};

pub(crate) fn egress(desk: &mut Desk<'_>, words: &At<Words>) -> Egress {
    let mut policies = vec![UrlPolicy::public("webhook"), UrlPolicy::public("public")];
    for (name, words) in words.policies.iter() {
        let made = policy(desk, name, words);
        match policies.iter_mut().find(|known| *known.name == **name) {
            Some(known) => *known = made,
            None => policies.push(made),
        }
    }
    let wanted = words.fields.inferred.as_ref().map_or("public", |name| name.value.as_str());
    let inferred = policies.iter().position(|policy| *policy.name == *wanted);
    if let (None, Some(name)) = (inferred, &words.fields.inferred) {
        let message = format!("there is no policy `{}`", name.value);
        desk.error("egress-policy", name.at, message, "add it under `egress.policies`, or name `public`");
    }
    let mut unchecked = Vec::new();
    for place in &words.fields.unchecked {
        let terms = Terms { because: &place.because, until: &place.until, at: place.at };
        let loosened = desk.loosen("unchecked_url", place.value.at.value.as_str(), terms);
        match place.value.at.split_once('/') {
            Some((operation, path)) if !operation.is_empty() && !path.is_empty() => {
                if loosened {
                    unchecked.push((operation.into(), path.into()));
                }
            }
            _ => {
                let message = format!("`{}` names no place", place.value.at.value);
                let help = "write operation and place: createUser/avatarUrl";
                desk.error("egress-place", place.value.at.at, message, help);
            }
        }
    }
    let deny = words.deny.iter().map(|network| network.value.0).collect();
    Egress { policies, inferred: inferred.unwrap_or_default(), unchecked, deny }
}

fn policy(desk: &mut Desk<'_>, name: &At<String>, words: &At<PolicyWords>) -> UrlPolicy {
    let mut made = UrlPolicy { allow: Vec::new(), ..UrlPolicy::public(name) };
    let mut loose = false;
    if !words.schemes.is_empty() {
        made.schemes.clear();
    }
    for scheme in &words.schemes {
        match scheme.to_ascii_lowercase().as_str() {
            known @ ("http" | "https") => {
                loose |= known == "http";
                made.schemes.push(known.into());
            }
            other => {
                let message = format!("`{other}` is no scheme of a URL here");
                desk.error("egress-scheme", scheme.at, message, "https, or http with a reason and an end");
            }
        }
    }
    if !words.ports.is_empty() {
        made.ports = words.ports.iter().map(|port| port.value).collect();
        loose |= made.ports.iter().any(|port| *port != 443);
    }
    if loose {
        let terms = Terms { because: &words.because, until: &words.until, at: words.at };
        desk.loosen("url_policy", name.value.as_str(), terms);
    }
    made.resolve = words.resolve;
    made.literal_ip = words.literal_ip;
    made.allow = hosts(desk, &words.hosts.allow);
    made.deny = hosts(desk, &words.hosts.deny);
    made
}

fn hosts(desk: &mut Desk<'_>, words: &[At<String>]) -> Vec<Box<str>> {
    let mut made = Vec::new();
    for host in words {
        let lower = host.to_ascii_lowercase();
        let label =
            |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let parent = lower.strip_prefix("*.");
        if lower != "*" && !parent.unwrap_or(&lower).split('.').all(label) {
            let message = format!("`{}` is no name of a host, nor a pattern of one", host.value);
            desk.error("egress-host", host.at, message, "api.example.com, *.example.com, or *");
        }
        // `*.co.uk` would be the whole of a registry.
        if parent.is_some_and(portcullis_plan::edge::is_registry) {
            let message = format!("`{}` is everybody's: names are registered there", host.value);
            desk.error("egress-host", host.at, message, "name your own domain: *.example.com");
        }
        made.push(lower.into());
    }
    made
}
