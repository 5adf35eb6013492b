//! Issuers, introspection, API keys, and what one API accepts.

use super::desk::Desk;
use super::url::{Url, invalid};
use crate::words::caller::{self as words, Discovery, DpopNonce, KeyEnv, SignatureScheme, Sink, Typ};
use crate::words::{At, Document, Duration, Map, OneOrMany};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_contract::model::{SchemeKind, SecurityScheme};
use portcullis_core::dn::Dn;
use portcullis_core::finding::{Span, did_you_mean};
use portcullis_core::head::names;
use portcullis_core::secret::Secret;
use portcullis_jose::alg::{Algorithm, Algorithms};
use portcullis_jose::json::Pointer;
use portcullis_jose::jwk::{KeyPolicy, KeySet};
use portcullis_jose::jwt;
use portcullis_plan::access::{
    ApiKeyPolicy, Authenticate, Introspection, IntrospectionClient, Issuer, JwtPolicy, KeyRules, KeySource,
    Kinds, MtlsClient, MtlsName, NoticeSink, OpaquePolicy, SignaturePolicy,
};
use std::sync::Arc;

/// Issuers and introspection end points, by the index that the plan uses.
#[derive(Default)]
pub(crate) struct Callers {
    pub(crate) issuers: Vec<Issuer>,
    /// Beside each issuer: its rules without an audience.
    templates: Vec<jwt::Policy>,
    /// Names under `issuers`, whether they compiled or not.
    names: Vec<(String, Option<usize>)>,
    pub(crate) introspections: Vec<Introspection>,
    introspection_names: Vec<(String, Option<usize>)>,
}

const DAY: u64 = 86_400;

pub(crate) fn callers(desk: &mut Desk<'_>, document: &Document) -> Callers {
    let mut callers = Callers::default();
    for (name, words) in document.issuers.iter() {
        let index = callers.add(desk, name, words, words.url.at);
        callers.names.push((name.value.clone(), index));
    }
    for (name, words) in document.introspection.iter() {
        let index = introspection(desk, name, words).map(|made| {
            callers.introspections.push(made);
            callers.introspections.len().saturating_sub(1)
        });
        callers.introspection_names.push((name.value.clone(), index));
    }
    callers
}

impl Callers {
    fn add(&mut self, desk: &mut Desk<'_>, name: &str, words: &words::Issuer, at: Span) -> Option<usize> {
        let template = template(desk, words);
        let algorithms = template.as_ref().map_or(Algorithms::ALL, |policy| policy.algorithms);
        let issuer = issuer(desk, name, words, algorithms, at);
        let (template, issuer) = (template?, issuer?);
        self.templates.push(template);
        self.issuers.push(issuer);
        Some(self.issuers.len().saturating_sub(1))
    }

    /// The issuer that an API names: by its name under `issuers`, or by its URL.
    fn find(&mut self, desk: &mut Desk<'_>, named: &At<String>) -> Option<usize> {
        if let Some((_, index)) = self.names.iter().find(|(name, _)| *name == named.value) {
            return *index;
        }
        if !named.contains("://") {
            let message = format!("there is no issuer `{}`", named.value);
            let help = match did_you_mean(named, self.names.iter().map(|(name, _)| name.as_str())) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of `issuers`, or write the issuer's URL".to_owned(),
            };
            desk.error("issuer-unknown", named.at, message, help);
            return None;
        }
        if let Some(index) = self.issuers.iter().position(|issuer| *issuer.url == *named.value) {
            return Some(index);
        }
        let words = words::Issuer {
            url: named.clone(),
            discovery: At::default(),
            algorithms: Vec::new(),
            skew: None,
            max_lifetime: None,
            max_age: None,
            rsa_max_bits: None,
            revocable: false,
            claims: words::Claims::default(),
            typ: Typ::default(),
        };
        let name = Url::parse(named).map(|url| format!("{}{}", url.host, url.path.replace('/', "-")));
        self.add(desk, &name.unwrap_or_default(), &words, named.at)
    }
}

fn issuer(
    desk: &mut Desk<'_>,
    name: &str,
    words: &words::Issuer,
    algorithms: Algorithms,
    at: Span,
) -> Option<Issuer> {
    let url = secure(desk, "issuer-not-https", "an issuer", &words.url)?;
    let rsa_max_bits = words.rsa_max_bits.unwrap_or(4_096);
    let policy = KeyPolicy { algorithms, rsa_max_bits };
    let path = url.path.as_str();
    let keys = match &words.discovery.value {
        Discovery::Oidc => {
            KeySource::Discovery(format!("{}{path}/.well-known/openid-configuration", url.origin()).into())
        }
        // RFC 8414 § 3.1: the well-known part stands between host and path.
        Discovery::Oauth => KeySource::Discovery(
            format!("{}/.well-known/oauth-authorization-server{path}", url.origin()).into(),
        ),
        Discovery::Jwks(text) => {
            let at = At { value: text.clone(), at: words.discovery.at };
            secure(desk, "issuer-not-https", "a key set", &at)?;
            KeySource::Url(text.as_str().into())
        }
        Discovery::File(file) => {
            let path = desk.files.path(file);
            let bytes = match desk.files.bytes(&path, 256 << 10, words.discovery.at) {
                Ok(bytes) => bytes,
                Err(finding) => {
                    desk.findings.push(*finding);
                    return None;
                }
            };
            judge_keys(desk, file, &bytes, &policy, words.discovery.at)?;
            KeySource::File { path, set: bytes.into() }
        }
    };
    Some(Issuer {
        name: name.into(),
        url: words.url.as_str().into(),
        keys,
        rsa_max_bits,
        revocable: words.revocable,
        at,
    })
}

fn judge_keys(desk: &mut Desk<'_>, name: &str, set: &[u8], policy: &KeyPolicy, at: Span) -> Option<()> {
    match KeySet::parse(set, policy) {
        Ok((_, unusable)) => {
            for one in &unusable {
                let kid = one.kid.as_deref().unwrap_or("without kid");
                let message = format!("the key `{kid}` of `{name}` cannot be used: {}", one.fault.text());
                desk.warning("key-unusable", at, message, "tokens signed with it are refused");
            }
            Some(())
        }
        Err(error) => {
            let help = "it is JSON of the form {\"keys\": [{\"kty\": …}]}";
            desk.error("keys-invalid", at, format!("`{name}` is no JWK set: {error}"), help);
            None
        }
    }
}

/// https, or http on this machine.
fn secure(desk: &mut Desk<'_>, code: &'static str, what: &str, text: &At<String>) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if url.is_tls() || url.is_loopback() => Some(url),
        Ok(_) => {
            let message = format!("`{}` is plain HTTP over a network", text.value);
            desk.error(
                code,
                text.at,
                message,
                format!("{what} is reached by https; http is for loopback alone"),
            );
            None
        }
        Err(why) => {
            invalid(desk, text, text.at, why, "write it like https://login.example.com/");
            None
        }
    }
}

/// The rules of an issuer, for APIs to add their audience.
fn template(desk: &mut Desk<'_>, words: &words::Issuer) -> Option<jwt::Policy> {
    let mut policy = jwt::Policy::new(words.url.value.clone(), []);
    let mut good = true;
    if !words.algorithms.is_empty() {
        let mut chosen = Algorithms::EMPTY;
        for name in &words.algorithms {
            match Algorithm::parse(name) {
                Some(algorithm) => chosen = chosen.with(algorithm),
                None => {
                    good = false;
                    algorithm(desk, name);
                }
            }
        }
        policy.algorithms = chosen;
    }
    if let Some(skew) = &words.skew {
        if skew.secs() > 120 {
            let message = "clocks may differ by 120 seconds at most";
            desk.error(
                "skew-too-large",
                skew.at,
                message,
                "write 30s, and let the machines keep time by NTP",
            );
            good = false;
        }
        policy.skew = signed(skew.secs());
    }
    if let Some(life) = &words.max_lifetime {
        if life.secs() == 0 {
            desk.error(
                "lifetime-zero",
                life.at,
                "no token lives for less than a second",
                "write it like 24h",
            );
            good = false;
        }
        policy.max_lifetime = signed(life.secs());
    }
    policy.max_age = words.max_age.as_ref().map(|age| signed(age.secs()));
    for (word, slot) in [(&words.claims.scope, &mut policy.scope), (&words.claims.client, &mut policy.client)]
    {
        let Some(word) = word else { continue };
        match Pointer::parse(word) {
            Some(pointer) => *slot = pointer,
            None => {
                let message = format!("`{}` is no JSON pointer", word.value);
                desk.error("pointer-invalid", word.at, message, "it begins with `/`, such as /scope");
                good = false;
            }
        }
    }
    policy.typ = match words.typ {
        Typ::ByShape => jwt::Typ::ByShape,
        Typ::Strict => jwt::Typ::Strict,
    };
    good.then_some(policy)
}

fn algorithm(desk: &mut Desk<'_>, name: &At<String>) {
    let message = format!("`{}` is not an algorithm that can be used here", name.value);
    let help = if name.to_ascii_uppercase().starts_with("HS") {
        // RFC 8725 § 2.1: whoever verifies could sign.
        "whoever verifies HS* can also sign; let the issuer sign with ES256 or RS256".to_owned()
    } else {
        let known = Algorithm::ALL.map(Algorithm::name);
        match did_you_mean(name, known) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known are {}", known.join(", ")),
        }
    };
    desk.error("algorithm-unsupported", name.at, message, help);
}

fn introspection(desk: &mut Desk<'_>, name: &str, words: &At<words::Introspection>) -> Option<Introspection> {
    secure(desk, "introspection-not-https", "introspection", &words.url)?;
    let client = match (&words.client.key, &words.client.secret) {
        (Some(key), None) => IntrospectionClient::PrivateKey(Arc::new(private_key(desk, key)?)),
        (None, Some(secret)) => IntrospectionClient::Secret(Arc::new(desk.secret_text(secret)?)),
        _ => {
            let help = "write  client: { id: gateway, key: { file: gateway.pem } }";
            let message = "the client has either a `key` or a `secret`";
            desk.error("client-authentication", words.client.at, message, help);
            return None;
        }
    };
    Some(Introspection {
        name: name.into(),
        url: words.url.as_str().into(),
        client_id: words.client.id.as_str().into(),
        client,
        at: words.at,
    })
}

/// The DER inside a PKCS#8 PEM block.
fn private_key(desk: &mut Desk<'_>, reference: &At<crate::words::Reference>) -> Option<Secret<Vec<u8>>> {
    let text = desk.secret_text(reference)?;
    let body = text
        .expose()
        .split_once("-----BEGIN PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
        .map(|(body, _)| body.split_ascii_whitespace().collect::<String>());
    let der = body.and_then(|body| STANDARD.decode(body).ok());
    if der.is_none() {
        let message = format!("`{}` holds no PKCS#8 private key in PEM form", reference.shown());
        let help = "make one with  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";
        desk.error("key-form", reference.at, message, help);
    }
    der.map(Secret::new)
}

/// What one API accepts. `key_header` is where its document expects API keys.
pub(crate) fn authenticate(
    desk: &mut Desk<'_>,
    callers: &mut Callers,
    words: &words::Authenticate,
    key_header: Option<&str>,
) -> Authenticate {
    let mut made =
        Authenticate { dpop_nonce: words.dpop_nonce == DpopNonce::Required, ..Authenticate::default() };
    for jwt in words.jwt.iter().flat_map(|list| list.iter()) {
        let audiences = audiences(desk, jwt.audience.as_ref(), jwt.issuer.at);
        let Some(index) = callers.find(desk, &jwt.issuer) else { continue };
        let (Some(audiences), Some(template)) = (audiences, callers.templates.get(index)) else { continue };
        if made.jwt.iter().any(|other: &JwtPolicy| other.issuer == index) {
            let help = "write one entry with several audiences:  audience: [a, b]";
            desk.error("issuer-twice", jwt.issuer.at, "this API has two rules for the same issuer", help);
            continue;
        }
        let policy = jwt::Policy { audiences, ..template.clone() };
        let policy_id = fingerprint(&policy);
        made.jwt.push(JwtPolicy { issuer: index, policy: Arc::new(policy), policy_id, at: jwt.issuer.at });
    }
    if let Some(opaque) = &words.opaque {
        made.opaque = self::opaque(desk, callers, opaque);
    }
    made.api_key = words.api_key.as_ref().map(|key| ApiKeyPolicy {
        live: key.env == KeyEnv::Live,
        header: key_header.unwrap_or("x-api-key").to_ascii_lowercase().into(),
    });
    if let Some(signature) = &words.signature {
        let env =
            signature.env.unwrap_or_else(|| words.api_key.as_ref().map(|key| key.env).unwrap_or_default());
        made.signature = self::signature(desk, signature, env == KeyEnv::Live);
    }
    for (name, client) in words.mtls.iter().flat_map(|mtls| mtls.clients.iter()) {
        made.mtls.extend(mtls_client(desk, name, client));
    }
    made
}

/// The header in which the document expects API keys.
pub(crate) fn key_header(schemes: &[SecurityScheme]) -> Option<String> {
    schemes.iter().find_map(|scheme| match &scheme.kind {
        SchemeKind::ApiKey { place, name } if **place == *"header" => Some(name.to_ascii_lowercase()),
        _ => None,
    })
}

/// The kinds for which there is an authenticator.
pub(crate) fn configured(words: &words::Authenticate) -> Kinds {
    let mut kinds = Kinds::NONE;
    for (there, kind) in [
        (words.jwt.is_some() || words.opaque.is_some(), Kinds::TOKEN),
        (words.api_key.is_some(), Kinds::API_KEY),
        (words.signature.is_some(), Kinds::SIGNATURE),
        (words.mtls.is_some(), Kinds::CERTIFICATE),
    ] {
        if there {
            kinds = kinds.with(kind);
        }
    }
    kinds
}

fn audiences(desk: &mut Desk<'_>, words: Option<&At<OneOrMany<String>>>, at: Span) -> Option<Vec<String>> {
    let list: Vec<String> = words.map(|list| list.value.to_vec()).unwrap_or_default();
    if list.is_empty() || list.iter().any(|audience| audience.trim().is_empty()) {
        // RFC 8725 § 3.9: a token for one API must not be good for another.
        let help = "add  audience: NAME  as the issuer writes it into `aud` for this API";
        desk.error(
            "audience-missing",
            words.map_or(at, |words| words.at),
            "tokens are accepted for any audience",
            help,
        );
        return None;
    }
    Some(list)
}

fn opaque(desk: &mut Desk<'_>, callers: &mut Callers, words: &At<words::Opaque>) -> Option<OpaquePolicy> {
    let audiences = audiences(desk, words.audience.as_ref(), words.at);
    let names = &callers.introspection_names;
    let Some((_, introspection)) = names.iter().find(|(name, _)| *name == words.introspection.value) else {
        let message = format!("there is no introspection end point `{}`", words.introspection.value);
        let help = match did_you_mean(&words.introspection, names.iter().map(|(name, _)| name.as_str())) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "add it under `introspection`".to_owned(),
        };
        desk.error("introspection-unknown", words.introspection.at, message, help);
        return None;
    };
    let introspection = *introspection;
    let issuer = callers.find(desk, &words.issuer)?;
    let policy = jwt::Policy { audiences: audiences?, ..callers.templates.get(issuer)?.clone() };
    let policy_id = fingerprint(&policy);
    Some(OpaquePolicy { introspection: introspection?, issuer, policy: Arc::new(policy), policy_id })
}

fn signature(desk: &mut Desk<'_>, words: &At<words::Signature>, live: bool) -> Option<SignaturePolicy> {
    let has = |scheme| words.schemes.iter().any(|one| one.value == scheme);
    if words.schemes.is_empty() {
        let help = "write  schemes: [portcullis-v1]";
        desk.error("signature-schemes", words.at, "signed requests are accepted under no scheme", help);
        return None;
    }
    for name in words.cover.iter().filter(|name| !names::is_plain(name)) {
        let message = format!("`{}` is not a header name", name.value);
        desk.error("header-name", name.at, message, "a name has letters, digits and hyphens");
    }
    Some(SignaturePolicy {
        portcullis_v1: has(SignatureScheme::PortcullisV1),
        pc1: has(SignatureScheme::Pc1),
        live,
        cover: words.cover.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
    })
}

fn mtls_client(desk: &mut Desk<'_>, name: &At<String>, words: &At<words::MtlsClient>) -> Option<MtlsClient> {
    let by = match (&words.san_uri, &words.san_dns, &words.subject, &words.thumbprint) {
        (Some(uri), None, None, None) => MtlsName::Uri(uri.as_str().into()),
        (None, Some(dns), None, None) => MtlsName::Dns(dns.to_ascii_lowercase().into()),
        (None, None, Some(subject), None) => match Dn::parse(subject) {
            Some(dn) => MtlsName::Subject(dn),
            None => {
                let help = "write it like CN=orders,O=Acme,C=DE, as  openssl x509 -noout -subject -nameopt RFC2253  shows it";
                desk.error("subject-form", subject.at, "this is no subject of a certificate", help);
                return None;
            }
        },
        (None, None, None, Some(print)) => {
            let whole = URL_SAFE_NO_PAD.decode(print.as_bytes()).is_ok_and(|bytes| bytes.len() == 32);
            if !whole {
                let help =
                    "it is the SHA-256 of the DER certificate, base64url without padding: 43 characters";
                desk.error("thumbprint-form", print.at, "this is no thumbprint of a certificate", help);
                return None;
            }
            MtlsName::Thumbprint(print.as_str().into())
        }
        _ => {
            let message = format!(
                "`{}` is named by exactly one of `san_uri`, `san_dns`, `subject`, `thumbprint`",
                name.value
            );
            let help = "write  san_uri: spiffe://partner/orders";
            desk.error("mtls-client-name", name.at, message, help);
            return None;
        }
    };
    let pairs = |map: &Map<String>| map.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect();
    Some(MtlsClient {
        name: name.as_str().into(),
        by,
        scopes: words.scopes.iter().map(|scope| scope.as_str().into()).collect(),
        attributes: pairs(&words.attributes),
    })
}

/// Rules of API keys, nonces and revocation.
pub(crate) fn key_rules(desk: &mut Desk<'_>, document: &Document) -> KeyRules {
    let mut rules = KeyRules::default();
    let words = &document.keys;
    if let Some(every) = &words.rotate_every {
        if !(DAY..=90 * DAY).contains(&every.secs()) {
            let help = "write 90d or less; at least 1d";
            desk.error("rotation-too-rare", every.at, "API keys are replaced every 90 days at least", help);
        }
        rules.rotate_every_s = signed(every.secs());
    }
    if let Some(grace) = &words.grace {
        if !(DAY..=3 * DAY).contains(&grace.secs()) {
            let message = "an old key works for 24 to 72 hours beside its successor";
            desk.error("grace-out-of-range", grace.at, message, "write 48h");
        }
        rules.grace_s = signed(grace.secs());
    }
    if let Some(docs) = &words.docs {
        rules.docs = secure(desk, "docs-not-https", "the page", docs).map(|_| docs.as_str().into());
    }
    for sink in &words.notify {
        rules.notify.extend(self::sink(desk, sink));
    }
    if let Some(capacity) = document.replay.capacity {
        rules.replay_capacity = capacity.max(1_000);
    }
    if let Some(stale) = document.revocation.max_staleness.map(Duration::secs) {
        rules.revocation_max_staleness_s = u32::try_from(stale).unwrap_or(u32::MAX);
    }
    rules
}

/// URL and signing secret of a webhook.
pub(crate) fn webhook(desk: &mut Desk<'_>, hook: &words::Webhook) -> Option<(Arc<str>, Secret<Vec<u8>>)> {
    secure(desk, "webhook-not-https", "a webhook", &hook.url)?;
    let text = desk.secret_text(&hook.secret)?;
    let bytes = text.expose().trim().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let Some(bytes) = bytes.filter(|bytes| (24..=64).contains(&bytes.len())) else {
        let help = "it is `whsec_` and 24 to 64 bytes in base64:  echo whsec_$(openssl rand -base64 32)";
        desk.error("secret-form", hook.secret.at, "this is no signing secret of Standard Webhooks", help);
        return None;
    };
    Some((hook.url.as_str().into(), Secret::new(bytes)))
}

fn sink(desk: &mut Desk<'_>, sink: &At<Sink>) -> Option<NoticeSink> {
    match &sink.value {
        Sink::Webhook(hook) => {
            let (url, secret) = webhook(desk, hook)?;
            Some(NoticeSink::Webhook { url, secret: Arc::new(secret) })
        }
        Sink::Email(mail) => {
            let (scheme, rest) = mail.relay.split_once("://").unwrap_or(("", ""));
            let place = Url::parse(&format!("https://{rest}")).ok();
            let local = place.as_ref().is_some_and(Url::is_loopback);
            if !matches!(scheme, "smtps" | "smtp") || place.is_none_or(|place| !place.path.is_empty()) {
                let help =
                    "write smtps://HOST:465, or smtp://HOST:587 (with STARTTLS; plain on this machine alone)";
                let message = format!("`{}` is no relay that can be used", mail.relay.value);
                desk.error("relay-invalid", mail.relay.at, message, help);
                return None;
            }
            let login = match &mail.login {
                Some(login) if scheme == "smtp" && local => {
                    let help = "remove `login`, or write smtps://";
                    desk.error(
                        "relay-invalid",
                        login.at,
                        "a password would go to the relay in the clear",
                        help,
                    );
                    return None;
                }
                Some(login) => {
                    let password =
                        desk.secret_text(&login.password)?.expose().trim_end_matches(['\r', '\n']).to_owned();
                    Some((login.user.as_str().into(), Arc::new(Secret::new(password))))
                }
                None => None,
            };
            Some(NoticeSink::Email {
                relay: mail.relay.as_str().into(),
                from: mail.from.as_str().into(),
                to: mail.to.iter().map(|to| to.as_str().into()).collect(),
                login,
            })
        }
    }
}

/// Stable for equal rules, in this process and the next: part of the key of the verification cache.
fn fingerprint(policy: &jwt::Policy) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{policy:?}").as_bytes());
    let first: [u8; 8] = digest.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}

fn signed(secs: u64) -> i64 {
    i64::try_from(secs).unwrap_or(i64::MAX)
}
