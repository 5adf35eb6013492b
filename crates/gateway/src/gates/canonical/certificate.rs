//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440) from a trusted proxy, on a listener that reads them (wire.md § 3.4).
//!
//! What is told there is judged as if the handshake had been ours: present and bad is never anonymous. From anybody else,
//! and under any other name, such a field is removed unread.

use crate::gates::identify::hash;
use crate::passage::Passage;
use crate::wire::ClientCert;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_plan::listen::ClientMode;
use rustls::pki_types::CertificateDer;
use std::rc::Rc;

const CERT: &str = "client-cert";
const CHAIN: &str = "client-cert-chain";
/// Certificates between the client's and the authority.
const LONGEST_CHAIN: usize = 8;

/// Reads what the proxy tells, if this listener listens to it. The peer is a trusted proxy.
///
/// # Errors
/// 400 for two certificates, 401 for one that cannot be read or does not hold.
pub(super) fn take(headers: &HeaderMap, listener: &str, passage: &Passage) -> Result<(), Stop> {
    let rules = passage.plan.listeners.iter().find(|own| own.name == listener);
    let Some(rules) = rules.and_then(|own| own.client_cert_from_proxy.as_ref()) else { return Ok(()) };
    let refuse = |code, reason| {
        passage.note(Gate::Canonical, reason, None);
        Err(Refusal::new(code, reason).into())
    };
    let mut lines = headers.get_all(CERT).iter();
    let Some(line) = lines.next() else {
        if headers.contains_key(CHAIN) {
            return refuse(Code::CertificateInvalid, "client-cert-chain-alone");
        }
        if rules.mode == ClientMode::Required {
            return refuse(Code::CertificateMissing, "client-cert-missing");
        }
        passage.certify(None);
        return Ok(());
    };
    if lines.next().is_some() {
        // The proxy's own beside one that a client smuggled past it.
        return refuse(Code::DuplicateHeader, "client-cert-twice");
    }
    let mut told: Vec<&[u8]> = vec![listener.as_bytes(), line.as_bytes()];
    told.extend(headers.get_all(CHAIN).iter().map(http::HeaderValue::as_bytes));
    let key = hash(&told);
    let now = passage.now.secs();
    let known = passage.plan.certificates().get(&key);
    if let Some(known) = known.filter(|known| known.still_good(Some(rules), now)) {
        passage.certify(Some(known));
        return Ok(());
    }
    let Some(leaf) = sequence(line.as_bytes()) else {
        return refuse(Code::CertificateInvalid, "client-cert-malformed");
    };
    let Some(chain) = chain(headers) else {
        return refuse(Code::CertificateInvalid, "client-cert-chain-malformed");
    };
    let Some(made) = ClientCert::of_proxy(leaf, chain, (listener, rules), now) else {
        passage.plan.certificates().forget(&key);
        return refuse(Code::CertificateInvalid, "client-cert-does-not-hold");
    };
    let made = Rc::new(made);
    passage.plan.certificates().put(key, made.clone());
    passage.certify(Some(made));
    Ok(())
}

fn chain(headers: &HeaderMap) -> Option<Vec<CertificateDer<'static>>> {
    let lines = headers.get_all(CHAIN).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let chain = members.map(|member| sequence(trimmed(member))).collect::<Option<Vec<_>>>()?;
    (chain.len() <= LONGEST_CHAIN).then_some(chain)
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A byte sequence (RFC 9651 § 3.3.5) in its one spelling: with padding, without parameters.
fn sequence(value: &[u8]) -> Option<CertificateDer<'static>> {
    let inside = value.strip_prefix(b":")?.strip_suffix(b":")?;
    let der = STANDARD.decode(inside).ok().filter(|der| !der.is_empty())?;
    Some(CertificateDer::from(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_sequence_has_one_spelling() {
        assert_eq!(sequence(b":AQID:").unwrap().as_ref(), [1, 2, 3]);
        assert_eq!(sequence(b":AQI=:").unwrap().as_ref(), [1, 2]);
        for bad in [
            "",
            ":",
            "::",
            "AQID",
            ":AQID",
            "AQID:",
            " :AQID:",
            ":AQID: ",
            ":AQ ID:",
            ":AQI:",
            ":AQJ=:",
            ":A-_D:",
            ":AQID:;a=1",
            "\":AQID:\"",
            ":AQID:, :AQID:",
            ":AQID::",
            "%3AAQID%3A",
        ] {
            assert!(sequence(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_chain_is_a_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(chain(&headers).unwrap().len(), 0);
        headers.append(CHAIN, ":AQID:,\t :AQI=: ".parse().unwrap());
        headers.append(CHAIN, ":AQ==:".parse().unwrap());
        assert_eq!(chain(&headers).unwrap().len(), 3);
        headers.append(CHAIN, "".parse().unwrap());
        assert!(chain(&headers).is_none(), "an empty member");
        let long = [":AQ==:"; LONGEST_CHAIN + 1].join(", ");
        headers.insert(CHAIN, long.parse().unwrap());
        assert!(chain(&headers).is_none());
    }
}
