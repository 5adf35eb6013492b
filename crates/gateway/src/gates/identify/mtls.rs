//! Client certificates: as what a token is bound to (RFC 8705), and as a credential (callers.md § 13).
//!
//! Chain, purpose, validity and revocation were verified: in the handshake, or by `canonical` for a certificate that a
//! trusted proxy tells of. What is left is whose certificate it is.

use super::vigil::Standing;
use super::{Failure, Proof};
use crate::passage::Passage;
use crate::services::Services;
use crate::wire::x509::San;
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::caller::{Binding, Caller, ClaimSource, Kind, Subject};
use portcullis_core::dn::Dn;
use portcullis_core::problem::Code;
use portcullis_core::secret::constant_time_eq;
use portcullis_jose::b64u;
use portcullis_jose::reason::Reason;
use portcullis_plan::access::{MtlsClient, MtlsName};
use portcullis_plan::api::Api;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// `iss` of the subjects that certificates name.
const ISSUER: &str = "portcullis:certificates";

/// A token bound to a certificate comes over a connection with just that certificate.
pub(super) fn bound(x5t: &str, passage: &Passage) -> Result<(), Failure> {
    let same = thumbprint(passage).is_some_and(|own| constant_time_eq(own.as_bytes(), x5t.as_bytes()));
    if same && still_good(passage) { Ok(()) } else { Err(Failure::token(Reason::Binding.text())) }
}

/// The one client of the API that the connection's certificate names.
pub(super) fn verify(api: &Api, passage: &Passage, services: &Services) -> Result<Proof, Failure> {
    let refused = |reason| Failure::refused(Code::CertificateInvalid, reason);
    let (Some(own), Some(certificate)) = (thumbprint(passage), passage.certificate()) else {
        return Err(refused("no-certificate"));
    };
    let (sans, subject) = (&certificate.sans, certificate.subject.as_ref());
    let mut named = api.authenticate.mtls.iter().filter(|client| names(&client.by, sans, subject, &own));
    let client = match (named.next(), named.next()) {
        (Some(client), None) => client,
        (None, _) => return Err(refused("certificate-of-nobody")),
        (Some(_), Some(_)) => return Err(refused("certificate-of-two")),
    };
    if !still_good(passage) {
        return Err(refused("certificate-no-longer-valid"));
    }
    let claims = Attributes::of(client);
    let subject = Subject { issuer: Arc::from(ISSUER), id: client.name.clone() };
    let hash = services.shared.hash_subject(&subject);
    let caller = Caller {
        kind: Kind::Certificate,
        client: Some(client.name.clone()),
        tenant: api.principal.tenant.as_deref().and_then(|p| claims.text_at(p)).map(|t| Arc::from(&*t)),
        scopes: client.scopes.clone().into(),
        claims: Some(Arc::new(claims)),
        binding: Binding::Certificate(Arc::from(own)),
        subject: Some(subject),
        ..Caller::anonymous()
    };
    let standing = Standing::Certificate;
    Ok(Proof { caller: Rc::new(caller), hash: Some(hash), decision: "certificate", standing })
}

/// `x5t#S256` of the connection's client certificate.
fn thumbprint(passage: &Passage) -> Option<String> {
    let leaf = &passage.certificate()?.leaf;
    Some(b64u::encode(digest(&SHA256, leaf).as_ref()))
}

/// Bytes against bytes, but for the case of DNS names.
fn names(by: &MtlsName, sans: &[San], subject: Option<&Dn>, thumbprint: &str) -> bool {
    match by {
        MtlsName::Uri(wanted) => sans.iter().any(|san| matches!(san, San::Uri(uri) if **uri == **wanted)),
        MtlsName::Dns(wanted) => {
            sans.iter().any(|san| matches!(san, San::Dns(name) if name.eq_ignore_ascii_case(wanted)))
        }
        MtlsName::Subject(wanted) => subject == Some(wanted),
        MtlsName::Thumbprint(wanted) => **wanted == *thumbprint,
    }
}

fn still_good(passage: &Passage) -> bool {
    let now = passage.now.secs();
    passage.certificate().is_some_and(|own| own.still_good(own.rules(&passage.plan), now))
}

/// What is registered with a client, as claims: `sub` is its name.
struct Attributes(Vec<(Box<str>, Box<str>)>);

impl Attributes {
    fn of(client: &MtlsClient) -> Self {
        let own = client.attributes.iter().filter(|(name, _)| **name != *"sub").cloned();
        Self(own.chain([("sub".into(), Box::from(&*client.name))]).collect())
    }
}

impl ClaimSource for Attributes {
    fn text_at(&self, pointer: &str) -> Option<Cow<'_, str>> {
        // RFC 6901 § 3: `~1` is a slash and `~0` a tilde.
        let name = pointer.strip_prefix('/')?.replace("~1", "/").replace("~0", "~");
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| Cow::Borrowed(&**value))
    }

    fn texts_at(&self, pointer: &str) -> Vec<String> {
        self.text_at(pointer).map(Cow::into_owned).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_named_by_bytes_and_wholly() {
        let sans =
            [San::Uri("spiffe://acme/orders".into()), San::Dns("Orders.acme.example".into()), San::Other];
        let uri = |text: &str| names(&MtlsName::Uri(text.into()), &sans, None, "print");
        let dns = |text: &str| names(&MtlsName::Dns(text.into()), &sans, None, "print");
        assert!(uri("spiffe://acme/orders") && dns("orders.acme.example"));
        for other in
            ["spiffe://acme/order", "spiffe://acme/orders/", "spiffe://ACME/orders", "spiffe://acme/*", ""]
        {
            assert!(!uri(other), "{other}");
        }
        for other in ["acme.example", "*.acme.example", "orders.acme.example.", "spiffe://acme/orders"] {
            assert!(!dns(other), "{other}");
        }
        assert!(names(&MtlsName::Thumbprint("print".into()), &sans, None, "print"));
        assert!(!names(&MtlsName::Thumbprint("prin".into()), &sans, None, "print"));
        let dn = |text: &str| Dn::parse(text).unwrap();
        let by =
            |text: &str| names(&MtlsName::Subject(dn(text)), &sans, Some(&dn("CN=orders,O=Acme")), "print");
        assert!(by("CN=orders,O=Acme"));
        for other in [
            "CN=orders",
            "O=Acme,CN=orders",
            "CN=orders,O=Acme,C=DE",
            "CN=Orders,O=Acme",
            "CN=Orders.acme.example",
        ] {
            assert!(!by(other), "{other}");
        }
        assert!(
            !names(&MtlsName::Subject(dn("CN=orders")), &sans, None, "print"),
            "a subject that cannot be named"
        );
    }

    #[test]
    fn attributes_are_claims_and_cannot_say_who() {
        let claims = Attributes::of(&MtlsClient {
            name: "acme".into(),
            by: MtlsName::Dns("a".into()),
            scopes: Vec::new(),
            attributes: vec![("sub".into(), "root".into()), ("org/id".into(), "7".into())],
        });
        assert_eq!(claims.text_at("/sub").as_deref(), Some("acme"));
        assert_eq!(claims.text_at("/org~1id").as_deref(), Some("7"));
        assert_eq!(claims.texts_at("/none"), Vec::<String>::new());
    }
}
