//! Who may call an operation: the document's `security`, what is configured, and what is named anonymous.

use super::caller::configured;
use super::desk::{Desk, Terms};
use crate::words::api::Api;
use crate::words::caller::{Demand, Kind};
use crate::words::{At, Loosening as Words};
use http::HeaderName;
use portcullis_contract::model::{Alternative as Stated, Operation, SchemeKind, Security, SecurityScheme};
use portcullis_core::finding::{Span, did_you_mean};
use portcullis_plan::Loosening;
use portcullis_plan::access::{Access, Alternative, Kinds};
use std::sync::Arc;

/// The rules of one API.
pub(crate) struct Rules<'w> {
    name: &'w str,
    api: &'w At<Api>,
    schemes: Vec<(Box<str>, Kinds)>,
    configured: Kinds,
    /// Why every operation without a verifiable credential is open: `--anonymous`.
    open: Option<&'w str>,
    /// Operations that demand kinds for which there is no authenticator.
    unverifiable: Vec<(Kinds, String)>,
    /// Operations that the document leaves open.
    opened: Vec<String>,
    /// Operations that ask for a caller while nobody can be known.
    shut: Vec<String>,
    /// The header of API keys, and the headers that carry credentials.
    pub(crate) key_header: Option<String>,
    pub(crate) headers: Vec<HeaderName>,
}

impl<'w> Rules<'w> {
    /// Looks at the security schemes of a document.
    pub(crate) fn new(
        desk: &mut Desk<'_>,
        name: &'w str,
        api: &'w At<Api>,
        schemes: &[SecurityScheme],
        open: Option<&'w str>,
    ) -> Self {
        let mut rules = Self {
            name,
            api,
            schemes: Vec::new(),
            configured: configured(&api.authenticate),
            open,
            unverifiable: Vec::new(),
            opened: Vec::new(),
            shut: Vec::new(),
            key_header: None,
            headers: vec![http::header::AUTHORIZATION],
        };
        for scheme in schemes {
            let kinds = match api.authenticate.schemes.get(&scheme.name) {
                Some(kind) => Some(kinds_of(kind.value)),
                None => rules.kinds(desk, scheme),
            };
            rules.schemes.push((scheme.name.clone(), kinds.unwrap_or(Kinds::NONE)));
        }
        let mut tokens = schemes.iter().zip(&rules.schemes).filter(|(_, (_, kinds))| *kinds == Kinds::TOKEN);
        if let (Some(_), Some((second, _)), true) = (tokens.next(), tokens.next(), rules.issuers() > 1) {
            let message = format!(
                "`{}` is one of several token schemes, and the API takes tokens of several issuers: each does for each",
                second.name
            );
            let help = "if an operation is for one issuer's callers alone, give it an API of its own";
            desk.warning("schemes-share-issuers", second.at, message, help);
        }
        for (named, _) in api.authenticate.schemes.iter() {
            if !schemes.iter().any(|scheme| *scheme.name == *named.value) {
                let message = format!("the document has no security scheme `{}`", named.value);
                let help = match did_you_mean(named, schemes.iter().map(|scheme| &*scheme.name)) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => "its schemes stand under `components.securitySchemes`".to_owned(),
                };
                desk.error("scheme-unknown", named.at, message, help);
            }
        }
        let demands =
            api.require.default.iter().chain(api.require.operations.iter().map(|(_, demand)| demand));
        for demand in demands {
            let (Demand::AnyOf(kinds) | Demand::AllOf(kinds)) = &demand.value;
            if kinds.is_empty() {
                let help = "write  any_of: [jwt]";
                desk.error("require-empty", demand.at, "a demand names no kind of credential", help);
            }
        }
        if rules.configured.contains(Kinds::API_KEY) && rules.key_header.is_none() {
            rules.headers.push(HeaderName::from_static("x-api-key"));
        }
        rules
    }

    /// Of how many issuers tokens are accepted.
    fn issuers(&self) -> usize {
        let words = &self.api.authenticate;
        words.jwt.iter().map(|list| list.len()).sum::<usize>() + usize::from(words.opaque.is_some())
    }

    fn kinds(&mut self, desk: &mut Desk<'_>, scheme: &SecurityScheme) -> Option<Kinds> {
        let name = &scheme.name;
        let why = match &scheme.kind {
            SchemeKind::Http { scheme } if **scheme == *"bearer" => return Some(Kinds::TOKEN),
            SchemeKind::OAuth2 { .. } | SchemeKind::OpenIdConnect { .. } => return Some(Kinds::TOKEN),
            SchemeKind::MutualTls => return Some(Kinds::CERTIFICATE),
            SchemeKind::ApiKey { place, name: header } if **place == *"header" => {
                match HeaderName::try_from(&**header) {
                    Ok(header) if header == http::header::AUTHORIZATION => {
                        format!(
                            "`{name}` is an API key in `Authorization`, which does not say what comes there"
                        )
                    }
                    Ok(header) => {
                        let lower = header.as_str().to_owned();
                        if self.key_header.as_ref().is_none_or(|known| *known == lower) {
                            self.key_header = Some(lower);
                            self.headers.push(header);
                            return Some(Kinds::API_KEY);
                        }
                        format!("`{name}` expects API keys in a second header, `{header}`")
                    }
                    Err(_) => format!("`{name}` names `{header}`, which is no header"),
                }
            }
            SchemeKind::ApiKey { place, .. } => {
                format!("`{name}` is an API key in a {place}, where logs and other sites see it")
            }
            SchemeKind::Http { scheme } => {
                format!("`{name}` is HTTP {scheme} authentication, which does not exist here")
            }
        };
        let help = format!(
            "use `http: bearer` or an `apiKey` in one header; or say what it stands for with  authenticate: {{ schemes: \
             {{ {name}: jwt }} }}"
        );
        desk.error("scheme-not-supported", scheme.at, why, help);
        None
    }

    /// Who may call this operation; `None` with a finding when that cannot be said.
    pub(crate) fn access(&mut self, desk: &mut Desk<'_>, operation: &Operation) -> Option<Access> {
        let (id, security) = (&*operation.id, &operation.security);
        if operation.closed {
            return Some(Access::AnyOf(Box::default()));
        }
        let named = self.api.anonymous.iter().find(|one| *one.allow.value == *id);
        if let Some(named) = named {
            return self.anonymous(desk, id, named, security);
        }
        let mut alternatives = match security.at {
            None => self.default(),
            Some(_) => self.stated(desk, security)?,
        };
        if alternatives.is_empty() {
            return self.nothing(desk, operation);
        }
        if let Some(demand) = self.api.require.operations.get(id) {
            alternatives = demanded(&alternatives, demand);
        }
        let verifiable: Vec<Alternative> =
            alternatives.iter().filter(|one| self.configured.contains(one.kinds)).cloned().collect();
        if verifiable.is_empty() {
            if let Some(because) = self.open {
                return Some(self.opened(operation, because));
            }
            let missing = alternatives.first().map_or(Kinds::NONE, |one| one.kinds.without(self.configured));
            self.unverifiable.push((missing, id.to_owned()));
            return None;
        }
        Some(Access::AnyOf(verifiable.into()))
    }

    fn anonymous(
        &mut self,
        desk: &mut Desk<'_>,
        operation: &str,
        named: &At<Words<At<String>>>,
        security: &Security,
    ) -> Option<Access> {
        let subject = format!("{}/{operation}", self.name);
        let terms = Terms { because: &named.because, until: &named.until, at: named.allow.at };
        if !desk.named("anonymous", subject, terms) {
            return None;
        }
        if let Some(demand) = self.api.require.operations.get(operation) {
            let message = format!("a credential is demanded of `{operation}`, and it is named anonymous");
            desk.error("anonymous-required", demand.at, message, "keep one of the two");
        }
        let demands = security.alternatives.iter().any(|one| !one.requirements.is_empty());
        if demands && !security.alternatives.iter().any(|one| one.requirements.is_empty()) {
            let message =
                format!("the document demands a credential for `{operation}`, and here anybody may call it");
            desk.warning(
                "anonymous-overrides",
                named.allow.at,
                message,
                "say so in the document too, or remove this",
            );
        }
        let because = named.because.as_ref().map(|because| because.trim()).unwrap_or_default();
        Some(Access::Anonymous { because: Arc::from(because), at: named.allow.at })
    }

    /// `require.default`, for documents that state nothing.
    fn default(&self) -> Vec<Alternative> {
        let Some(demand) = &self.api.require.default else { return Vec::new() };
        let one = |kinds| Alternative { kinds, scopes: Box::default(), at: demand.at };
        match &demand.value {
            Demand::AnyOf(kinds) => kinds.iter().map(|kind| one(kinds_of(kind.value))).collect(),
            Demand::AllOf(kinds) => vec![one(all(kinds))],
        }
    }

    fn stated(&self, desk: &mut Desk<'_>, security: &Security) -> Option<Vec<Alternative>> {
        let mut made = Vec::new();
        let mut whole = true;
        for stated in &security.alternatives {
            // An empty alternative would let anybody in beside the others; a document can only tighten.
            if stated.requirements.is_empty() {
                continue;
            }
            match self.alternative(desk, stated) {
                Some(alternative) => made.push(alternative),
                None => whole = false,
            }
        }
        whole.then_some(made)
    }

    fn alternative(&self, desk: &mut Desk<'_>, stated: &Stated) -> Option<Alternative> {
        let mut kinds = Kinds::NONE;
        let mut scopes: Vec<Box<str>> = Vec::new();
        for requirement in &stated.requirements {
            let known = self.schemes.iter().find(|(name, _)| *name == requirement.scheme);
            let Some((_, kind)) = known else {
                let message = format!("there is no security scheme `{}`", requirement.scheme);
                let help =
                    match did_you_mean(&requirement.scheme, self.schemes.iter().map(|(name, _)| &**name)) {
                        Some(word) => format!("did you mean `{word}`?"),
                        None => "declare it under `components.securitySchemes`".to_owned(),
                    };
                desk.error("scheme-unknown", requirement.at, message, help);
                return None;
            };
            if kind.is_empty() {
                return None;
            }
            if kinds.contains(*kind) && self.issuers() > 1 {
                // Whose token would it be? One request carries one.
                let message = format!(
                    "`{}` and another scheme here are both tokens, and a request carries one",
                    requirement.scheme
                );
                let help = "ask for one of them; tokens of every issuer of the API are judged by their own issuer's rules";
                desk.error("schemes-one-token", requirement.at, message, help);
                return None;
            }
            kinds = kinds.with(*kind);
            for scope in &requirement.scopes {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
        }
        Some(Alternative { kinds, scopes: scopes.into(), at: stated.at })
    }

    /// An operation for which nobody demands anything.
    fn nothing(&mut self, desk: &mut Desk<'_>, operation: &Operation) -> Option<Access> {
        let id = &*operation.id;
        if let Some(because) = self.open {
            return Some(self.opened(operation, because));
        }
        let what = if operation.security.at.is_some() {
            "is open to anybody"
        } else {
            "says nothing about who may call it"
        };
        let message =
            format!("`{} {}` {what}, and is not named anonymous", operation.method, operation.template);
        let help = format!(
            "add `security` to the document; or in portcullis.yaml  anonymous: [{{ allow: {id}, because: \"…\" }}]"
        );
        desk.error("security-missing", operation.at, message, help);
        None
    }

    /// Open by `--anonymous`; but what belongs to a caller stays shut while nobody can be known.
    fn opened(&mut self, operation: &Operation, because: &str) -> Access {
        let rules = &operation.extension;
        if rules.binds.is_empty() && rules.scopes.is_empty() {
            self.opened.push(operation.id.to_string());
            return Access::Anonymous { because: Arc::from(because), at: operation.at };
        }
        self.shut.push(operation.id.to_string());
        Access::AnyOf(Box::default())
    }

    /// What concerns several operations is said once. `ids` are all operations of the document.
    pub(crate) fn finish(self, desk: &mut Desk<'_>, ids: &[String], file_mode: bool) {
        self.unknown(desk, ids);
        self.shut(desk);
        for (kind, noun, file_help, flag_help) in [
            (
                Kinds::TOKEN,
                "a token",
                "add  authenticate: { jwt: { issuer: https://login.example.com/, audience: NAME } }",
                "add  --issuer URL --audience NAME  to say whose tokens count; or  --anonymous  to let anybody call",
            ),
            (
                Kinds::API_KEY,
                "an API key",
                "add  authenticate: { api_key: { env: live } }  and make keys with `portcullis keys create`",
                "write a portcullis.yaml with  authenticate: { api_key: { env: live } }; or add  --anonymous",
            ),
            (
                Kinds::SIGNATURE,
                "a signed request",
                "add  authenticate: { signature: { schemes: [portcullis-v1] } }",
                "write a portcullis.yaml with  authenticate: { signature: … }; or add  --anonymous",
            ),
            (
                Kinds::CERTIFICATE,
                "a client certificate",
                "add  authenticate: { mtls: { clients: { NAME: { san_uri: … } } } }",
                "write a portcullis.yaml with  authenticate: { mtls: … }; or add  --anonymous",
            ),
        ] {
            let list: Vec<&str> = self
                .unverifiable
                .iter()
                .filter(|(k, _)| k.intersects(kind))
                .map(|(_, id)| id.as_str())
                .collect();
            if list.is_empty() {
                continue;
            }
            let message =
                format!("{} {noun}, and nothing here can verify one: {}", demands(list.len()), some(&list));
            let at = if self.api.authenticate.at == Span::default() {
                self.api.at
            } else {
                self.api.authenticate.at
            };
            let help = if file_mode { file_help } else { flag_help };
            desk.error("authenticator-missing", first_line(at), message, help);
        }
        if let (false, Some(because)) = (self.opened.is_empty(), self.open) {
            let entered = self.opened.iter().map(|id| Loosening {
                name: "anonymous",
                subject: format!("{}/{id}", self.name),
                because: because.to_owned(),
                until: None,
                at: self.api.at,
            });
            desk.loosenings.extend(entered);
            let list: Vec<&str> = self.opened.iter().map(String::as_str).collect();
            let message =
                format!("anybody may call {} of {} operations: {}", list.len(), ids.len(), some(&list));
            let help = "that is what --anonymous does; name single operations in a portcullis.yaml instead";
            desk.warning("anonymous", self.api.at, message, help);
        }
    }

    /// What `--anonymous` cannot open.
    fn shut(&self, desk: &mut Desk<'_>) {
        let list: Vec<&str> = self.shut.iter().map(String::as_str).collect();
        if !list.is_empty() {
            let message = format!("nobody may call what belongs to a caller: {}", some(&list));
            let help = "add  --issuer URL --audience NAME,  so that callers can be known";
            desk.warning("caller-unknown", self.api.at, message, help);
        }
    }

    /// Names of operations that the document does not have.
    fn unknown(&self, desk: &mut Desk<'_>, ids: &[String]) {
        let api = &self.api.value;
        let anonymous = api.anonymous.iter().map(|one| &one.allow);
        let demanded = api.require.operations.iter().map(|(name, _)| name);
        let settings = api.operations.iter().map(|(name, _)| name);
        let loosened = api.loosen.iter().flat_map(|loosen| &loosen.operations);
        for name in anonymous.clone().chain(demanded).chain(settings).chain(loosened) {
            if !ids.contains(&name.value) {
                let message = format!("`apis.{}` has no operation `{}`", self.name, name.value);
                let help = match did_you_mean(name, ids.iter().map(String::as_str)) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => "names are the `operationId`s of the document; `portcullis check` lists them"
                        .to_owned(),
                };
                desk.error("operation-unknown", name.at, message, help);
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for name in anonymous {
            if seen.contains(&name.as_str()) {
                let message = format!("`{}` is named anonymous twice", name.value);
                desk.error("anonymous-twice", name.at, message, "keep one of them, with its reason");
            }
            seen.push(name);
        }
    }
}

pub(crate) fn kinds_of(kind: Kind) -> Kinds {
    match kind {
        Kind::Jwt | Kind::Opaque => Kinds::TOKEN,
        Kind::ApiKey => Kinds::API_KEY,
        Kind::Signature => Kinds::SIGNATURE,
        Kind::Mtls => Kinds::CERTIFICATE,
    }
}

fn all(kinds: &[At<Kind>]) -> Kinds {
    kinds.iter().fold(Kinds::NONE, |sum, kind| sum.with(kinds_of(kind.value)))
}

/// Each alternative of the document together with each of the demand: a demand adds and never replaces.
fn demanded(stated: &[Alternative], demand: &At<Demand>) -> Vec<Alternative> {
    let more: Vec<Kinds> = match &demand.value {
        Demand::AnyOf(kinds) => kinds.iter().map(|kind| kinds_of(kind.value)).collect(),
        Demand::AllOf(kinds) => vec![all(kinds)],
    };
    let mut made: Vec<Alternative> = Vec::new();
    for alternative in stated {
        for kinds in &more {
            let next = Alternative { kinds: alternative.kinds.with(*kinds), ..alternative.clone() };
            if !made.iter().any(|one| one.kinds == next.kinds && one.scopes == next.scopes) {
                made.push(next);
            }
        }
    }
    made
}

fn demands(count: usize) -> String {
    if count == 1 { "1 operation demands".to_owned() } else { format!("{count} operations demand") }
}

/// At most five names.
pub(crate) fn some(list: &[&str]) -> String {
    let shown: Vec<&str> = list.iter().copied().take(5).collect();
    let rest = list.len().saturating_sub(shown.len());
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

fn first_line(mut at: Span) -> Span {
    at.end = at.start.saturating_add(1).min(at.end);
    at
}
