//! The catalogue of problems: everything a client can be told when a request is refused.
//!
//! One table makes the codes, their status and title, the reference pages (`docs/reference/problems.md`) and
//! the exhaustiveness test. The wire form is RFC 9457 with `type: urn:portcullis:problem:<code>`. A code, once
//! published, keeps its meaning.

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// A stable code. The doc comment of each tells its reader what to do about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The kebab-case word.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// One sentence for the client; never a value of the request.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// The code that the client is told: some verdicts are concealed.
            pub const fn disclosed(self) -> Self {
                match self { Self::ObjectNotYours => Self::NotFound, other => other }
            }

            /// What it means and what to do, for the reference page.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc, "\n",)+),)+ }
            }
        }
    };
}

problems! {
    // The edge (wire).
    /// The bytes are not one unambiguous HTTP request: line ends, lengths, chunks or field syntax.
    MalformedRequest = "malformed-request", 400, "The request is not well-formed HTTP.";
    /// The path has empty, dot, doubly encoded or otherwise ambiguous segments.
    PathRefused = "path-refused", 400, "The path is not in canonical form.";
    /// A header name or value is not accepted here.
    HeaderRefused = "header-refused", 400, "A header of the request is not accepted.";
    /// A header that may come once came twice.
    DuplicateHeader = "duplicate-header", 400, "A header that may occur once occurs more than once.";
    /// A credential or card number stands in the URL, where proxies log it. Rotate it and use a header.
    SecretInUrl = "secret-in-url", 400, "The URL carries a secret.";
    /// The API is served over HTTPS only. Nothing was redirected, so that no credential is sent twice.
    HttpsRequired = "https-required", 403, "This API is served over HTTPS only.";
    /// The origin of the page is not one that may call this API.
    OriginRefused = "origin-refused", 403, "The origin is not allowed.";
    /// The path is declared, the method is not; `Allow` names those that are.
    MethodNotAllowed = "method-not-allowed", 405, "The method is not declared for this path.";
    /// The API's document does not declare this path.
    OperationUndeclared = "operation-undeclared", 404, "No such operation.";
    /// The authority is not one that is served on this connection.
    MisdirectedRequest = "misdirected-request", 421, "The request was directed at a host that is not served here.";
    /// Header fields are too many or too large.
    HeaderTooLarge = "header-too-large", 431, "The header fields are too large.";
    /// The target is longer than 8 KiB (or the configured bound).
    UriTooLong = "uri-too-long", 414, "The URL is too long.";
    /// The request did not arrive in time.
    RequestTimeout = "request-timeout", 408, "The request did not arrive in time.";
    /// Only `Expect: 100-continue` is understood.
    ExpectationFailed = "expectation-failed", 417, "The expectation cannot be met.";
    /// Only HTTP/1.1 and HTTP/2 are spoken here.
    HttpVersionUnsupported = "http-version-unsupported", 505, "The HTTP version is not supported.";
    /// The request has been through this gateway before.
    LoopDetected = "loop-detected", 508, "The request came round in a loop.";
    /// Too much is under way; come back after `Retry-After`.
    Overloaded = "overloaded", 503, "The service is overloaded.";
    /// The API behind the gateway cannot be reached.
    UpstreamUnavailable = "upstream-unavailable", 503, "The API is not available.";
    /// The API behind the gateway failed.
    UpstreamError = "upstream-error", 502, "The API failed to answer.";
    /// The API behind the gateway did not answer in time.
    UpstreamTimeout = "upstream-timeout", 504, "The API did not answer in time.";
    /// The API behind the gateway refused the request; its own words are not shown. The status is its own.
    UpstreamRefused = "upstream-refused", 400, "The API refused the request.";
    // The contract.
    /// A path, query, header or cookie parameter does not have the declared form.
    InvalidParameter = "invalid-parameter", 400, "A parameter is not valid.";
    /// A query parameter is not declared.
    UnknownParameter = "unknown-parameter", 400, "A parameter is not declared.";
    /// A parameter that may come once came twice.
    DuplicateParameter = "duplicate-parameter", 400, "A parameter occurs more than once.";
    /// None of the declared response types is acceptable to the client.
    NotAcceptable = "not-acceptable", 406, "No acceptable representation.";
    /// The operation needs a body.
    BodyMissing = "body-missing", 400, "The request needs a body.";
    /// The operation takes no body.
    BodyUnexpected = "body-unexpected", 400, "The operation takes no body.";
    /// The operation needs a `Content-Length`.
    LengthRequired = "length-required", 411, "The request needs a Content-Length.";
    /// The body's media type is missing or not declared.
    UnsupportedMediaType = "unsupported-media-type", 415, "The media type is not supported.";
    /// The body's coding is not accepted; `Accept-Encoding` names those that are.
    UnsupportedEncoding = "unsupported-encoding", 415, "The content coding is not supported.";
    /// The body is larger than the operation accepts.
    PayloadTooLarge = "payload-too-large", 413, "The body is too large.";
    /// The body ends early, does not decode, or is not of its type's form.
    MalformedBody = "malformed-body", 400, "The body is malformed.";
    /// The body is not strict JSON (RFC 8259, UTF-8).
    MalformedJson = "malformed-json", 400, "The body is not valid JSON.";
    /// A JSON object has one key twice.
    DuplicateKey = "duplicate-key", 400, "A JSON object has a key twice.";
    /// The JSON is too deep or has too many values.
    JsonTooComplex = "json-too-complex", 400, "The JSON is too complex.";
    /// The request does not match the API's document; `errors` lists the places.
    SchemaViolation = "schema-violation", 400, "The request does not match the contract.";
    /// The request is no request of GraphQL, or its text no document by the grammar.
    GraphqlMalformed = "graphql-malformed", 400, "The GraphQL request is malformed.";
    /// The document is larger, deeper or costlier than is accepted; `bound` names the kind of bound.
    GraphqlTooComplex = "graphql-too-complex", 400, "The GraphQL request is too complex.";
    /// The document does not match the API's schema.
    GraphqlInvalid = "graphql-invalid", 400, "The GraphQL request does not match the schema.";
    /// The document asks for something that the caller may not have, or is not on the list of documents.
    GraphqlForbidden = "graphql-forbidden", 403, "The GraphQL request is not allowed.";
    /// A URL of the request leads where the upstream may not be sent; `errors` lists the places.
    UrlNotAllowed = "url-not-allowed", 422, "A URL is not allowed.";
    /// The file is not of a type that is accepted here, or not what it says it is.
    FileTypeRejected = "file-type-rejected", 422, "The file is not accepted.";
    /// The scanner found something in the file.
    MalwareDetected = "malware-detected", 422, "The file is not clean.";
    /// Files cannot be scanned at the moment, so none is let through.
    ScannerUnavailable = "scanner-unavailable", 503, "Files cannot be checked at the moment.";
    /// The API's answer does not match its document.
    ResponseViolation = "response-violation", 502, "The API's answer does not match its contract.";
    // Callers.
    /// No credential was presented; `WWW-Authenticate` names what is accepted.
    CredentialMissing = "credential-missing", 401, "A credential is needed.";
    /// More than one credential, or a mixture that no alternative of the operation knows.
    CredentialAmbiguous = "credential-ambiguous", 400, "The credentials are ambiguous.";
    /// A credential stands where it must not be (a cookie).
    CredentialMisplaced = "credential-misplaced", 400, "A credential is in the wrong place.";
    /// The kind of credential is not accepted here.
    CredentialUnsupported = "credential-unsupported", 401, "This kind of credential is not accepted.";
    /// Two credentials of one request disagree.
    CredentialConflict = "credential-conflict", 403, "The credentials disagree.";
    /// The token is not valid here.
    TokenInvalid = "token-invalid", 401, "The token is not valid.";
    /// The token was right in everything but has expired.
    TokenExpired = "token-expired", 401, "The token has expired.";
    /// The DPoP proof does not fit (RFC 9449).
    DpopProofInvalid = "dpop-proof-invalid", 401, "The DPoP proof is not valid.";
    /// The API demands a nonce in the DPoP proof; `DPoP-Nonce` carries it.
    DpopNonceRequired = "dpop-nonce-required", 401, "The DPoP proof needs a nonce.";
    /// The API key is not valid.
    KeyInvalid = "key-invalid", 401, "The API key is not valid.";
    /// The API key has expired; use its successor.
    KeyExpired = "key-expired", 401, "The API key has expired.";
    /// The API key may not be used from this address or for this API.
    KeyNotAllowed = "key-not-allowed", 403, "The API key may not be used here.";
    /// The operation needs a signed request; `Accept-Signature` tells what to cover.
    SignatureMissing = "signature-missing", 401, "The request must be signed.";
    /// The signature headers do not parse or lack a parameter.
    SignatureMalformed = "signature-malformed", 401, "The signature is malformed.";
    /// The signature does not cover what it must.
    SignatureCoverage = "signature-coverage", 401, "The signature does not cover the request.";
    /// The signature is too old or from the future; compare clocks with `server_time`.
    SignatureStale = "signature-stale", 401, "The signature is out of its time window.";
    /// The nonce has been used.
    SignatureReplay = "signature-replay", 401, "The signed request was seen before.";
    /// The signature does not verify.
    SignatureInvalid = "signature-invalid", 401, "The signature is not valid.";
    /// The body is not the one that was signed.
    SignatureDigest = "signature-digest", 401, "The body does not match its signed digest.";
    /// The operation needs a client certificate.
    CertificateMissing = "certificate-missing", 401, "A client certificate is needed.";
    /// The client certificate is not one of a known client.
    CertificateInvalid = "certificate-invalid", 401, "The client certificate is not valid here.";
    /// The issuer's keys cannot be had at the moment.
    IssuerUnavailable = "issuer-unavailable", 503, "The token cannot be verified at the moment.";
    /// API keys cannot be looked up at the moment.
    KeyStoreUnavailable = "key-store-unavailable", 503, "The API key cannot be verified at the moment.";
    /// Replays cannot be ruled out at the moment.
    ReplayStoreUnavailable = "replay-store-unavailable", 503, "The signature cannot be verified at the moment.";
    /// Revocations have not been heard of for too long.
    RevocationUnavailable = "revocation-unavailable", 503, "The credential cannot be verified at the moment.";
    // Authority.
    /// The token or key lacks a scope that the operation needs.
    ScopeMissing = "scope-missing", 403, "The credential lacks a scope.";
    /// The object is not the caller's. Concealed: the client is told `not-found`, as for an object that is missing.
    ObjectNotYours = "object-not-yours", 404, "No such object.";
    /// There is no such object, or it is not the caller's; the two are not told apart.
    NotFound = "not-found", 404, "No such object.";
    // Administration.
    /// Nothing is configured that could prove who administers; `admin: { authenticate: … }` does.
    AdministrationClosed = "administration-closed", 403, "The admin API is closed.";
    /// What was asked for cannot be; `detail` says why.
    OrderRefused = "order-refused", 422, "What was asked for cannot be.";
    /// The key has a living successor already.
    KeyRotationInProgress = "key-rotation-in-progress", 409, "The key is being rotated.";
    /// A key that is pending, expired, revoked or suspended is not rotated.
    KeyNotRotatable = "key-not-rotatable", 409, "The key cannot be rotated.";
    /// The key was revoked or has expired, for good.
    KeyHasEnded = "key-has-ended", 409, "The key has ended.";
    /// Only a suspended key is resumed.
    KeyNotSuspended = "key-not-suspended", 409, "The key is not suspended.";
    // Limits.
    /// A limit is used up; `Retry-After` says when to come back.
    QuotaSpent = "quota-spent", 429, "Too many requests.";
    /// One request costs more than its limit can ever admit.
    CostExceedsBurst = "cost-exceeds-burst", 413, "The request costs more than is ever admitted.";
    /// The counters cannot be reached.
    LimitsUnavailable = "limits-unavailable", 503, "The limits cannot be checked at the moment.";
    // Ours.
    /// The gateway itself failed; the request was refused.
    Internal = "internal-error", 500, "The gateway failed.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_kebab_case_and_have_an_error_status() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.text()), "{} twice", code.text());
            assert!(code.text().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", code.text());
            assert!((400..600).contains(&code.status()));
            assert!(code.title().ends_with('.'));
        }
    }
}
