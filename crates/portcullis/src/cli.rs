//! The command line, as written. Every verb says with an example what it is for.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// An API security gateway: it refuses everything that your OpenAPI document does not allow.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve: judge every request, forward what is allowed.
    #[command(
        after_help = "Examples:\n  portcullis serve\n  portcullis serve --config gateway/portcullis.yaml\n  portcullis serve openapi.yaml --upstream http://127.0.0.1:3000 --issuer https://login.example.com/ --audience shop"
    )]
    Serve(Serve),
    /// Compile configuration and documents, and say what is wrong and where.
    #[command(
        after_help = "Examples:\n  portcullis check\n  portcullis check openapi.yaml other.json --format json\n  portcullis check openapi.yaml --coverage"
    )]
    Check(Check),
    /// Show what every gate would decide about a request, and by which line of which file.
    #[command(after_help = "Example:\n  portcullis explain GET /orders/7 --token \"$TOKEN\"")]
    Explain(Explain),
    /// Write a first portcullis.yaml for an OpenAPI document.
    #[command(
        after_help = "Example:\n  portcullis init --from-spec openapi.yaml --upstream http://127.0.0.1:3000 > portcullis.yaml"
    )]
    Init(Init),
    /// Print the JSON Schema of portcullis.yaml, for completion in editors.
    #[command(after_help = "Example:\n  portcullis schema > portcullis.schema.json")]
    Schema(Schema),
    /// Sign a request with a registered key, and print the header fields to send with it.
    #[command(
        after_help = "Examples:\n  portcullis sign POST https://api.example.com/v1/transfers --key-id 008j4ct4ank7f24s --secret-file billing.pch -d @transfer.json > signed\n  curl -H @signed --data-binary @transfer.json https://api.example.com/v1/transfers"
    )]
    Sign(Sign),
    /// Create, list, rotate and revoke API keys.
    #[command(
        after_help = "Example:\n  portcullis keys create --name billing --owner acme --api shop --scope orders.read"
    )]
    Keys(Keys),
    /// Revoke tokens before their time; running nodes follow within two seconds.
    #[command(
        after_help = "Examples:\n  portcullis revoke --issuer corp --jti 0191f3c2\n  portcullis revoke --issuer corp --sub ann --before 2027-01-31T12:00:00Z"
    )]
    Revoke(Revoke),
    /// Read the audit ledger, and verify that nothing of it was changed, removed or reordered.
    #[command(
        after_help = "Examples:\n  portcullis audit verify-ledger\n  portcullis audit verify-ledger --checkpoints /mnt/elsewhere/checkpoints.log --format json\n  portcullis audit ledger --since 2027-01-31"
    )]
    Audit(Audit),
    /// Look for attacks in a log that is there already, or in traffic that is made up.
    #[command(
        after_help = "Examples:\n  portcullis detect replay --log access.log --rules rules.yaml\n  portcullis detect simulate --seed 7"
    )]
    Detect(Detect),
    /// Attack a deliberately vulnerable shop, directly and through the gate, and show the score.
    #[command(
        after_help = "Examples:\n  portcullis demo\n  portcullis demo --serve\n  portcullis demo --format json"
    )]
    Demo(Demo),
}

/// Text for people or JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where the configuration is: a file, or an OpenAPI document and what a short command line can say.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml")]
    pub(crate) config: PathBuf,
    /// An OpenAPI document, to serve without a configuration file.
    #[arg(value_name = "SPEC", requires = "upstream")]
    pub(crate) spec: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) direct: Direct,
}

/// What a command line can say in place of a configuration file.
#[derive(Debug, Args)]
pub(crate) struct Direct {
    /// The API behind the gateway.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(crate) upstream: Option<String>,
    /// Where to listen. Off loopback TLS is required, and therefore a configuration file.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// The issuer of the tokens that callers present.
    #[arg(long, value_name = "URL", requires = "audience")]
    pub(crate) issuer: Option<String>,
    /// The audience that tokens must name.
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Option<String>,
    /// The issuer's keys as a JWK set file, instead of discovery.
    #[arg(long, value_name = "FILE", requires = "issuer")]
    pub(crate) jwks: Option<PathBuf>,
    /// Let everybody call the operations for which the document demands nothing, and say so loudly.
    #[arg(long)]
    pub(crate) anonymous: bool,
}

/// `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Write `{"listeners":{…},"plan":"…"}` here once requests are accepted.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Worker threads; the number of cores by default.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
}

/// `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// OpenAPI documents to check by themselves; without any, the configuration is checked.
    #[arg(value_name = "SPEC")]
    pub(crate) specs: Vec<PathBuf>,
    /// List every key of each document with what becomes of it: enforced, annotation, or a finding.
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml")]
    pub(crate) config: PathBuf,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// HTTP method.
    pub(crate) method: String,
    /// URL or path with query.
    pub(crate) url: String,
    /// Header fields, as `Name: value`.
    #[arg(long, short = 'H', value_name = "FIELD")]
    pub(crate) header: Vec<String>,
    /// Token, sent as `Authorization: Bearer`.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Body; `@FILE` reads a file.
    #[arg(long, short, value_name = "BODY")]
    pub(crate) data: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) from: std::net::IpAddr,
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml")]
    pub(crate) config: PathBuf,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `detect`.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: DetectVerb,
}

/// What `detect` does.
#[derive(Debug, Subcommand)]
pub(crate) enum DetectVerb {
    /// Replay a log with its own clock, and print what fires.
    Replay(Replay),
    /// Make up traffic of ordinary callers and of attackers, and print how well the triggers tell them apart.
    Simulate(Simulate),
}

/// `detect replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The log; `-` reads standard input. Lines of the request log, other JSON, or what the `formats` of the rules read.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: PathBuf,
    /// Rules of your own.
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Text, or JSON lines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `detect simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The same seed makes the same traffic.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Days of traffic; the first half teaches.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(10..=365))]
    pub(crate) days: u32,
    /// Ordinary callers.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) principals: u32,
    /// Nobody attacks: whatever fires is a false alarm.
    #[arg(long)]
    pub(crate) benign: bool,
    /// Judge by labels that were dealt out at random: what is found then is chance.
    #[arg(long, conflicts_with = "benign")]
    pub(crate) shuffle: bool,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `sign`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("proof").required(true).args(["secret_file", "jwk"]))]
pub(crate) struct Sign {
    /// HTTP method.
    pub(crate) method: String,
    /// The URL exactly as it will be sent.
    pub(crate) url: String,
    /// Public id of the key (16 characters).
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: String,
    /// File with the signing secret (`pch_…`) of a key of kind `hmac`.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// File with the private key (JWK: Ed25519 or P-256) of a key of kind `jwk`.
    #[arg(long, value_name = "FILE")]
    pub(crate) jwk: Option<PathBuf>,
    /// How it is signed.
    #[arg(long, value_enum, default_value_t = SignScheme::PortcullisV1)]
    pub(crate) scheme: SignScheme,
    /// Header fields that will be sent, as `Name: value`; they are printed too.
    #[arg(long, short = 'H', value_name = "FIELD")]
    pub(crate) header: Vec<String>,
    /// Fields to cover besides what must be (`idempotency-key`).
    #[arg(long, value_name = "NAME")]
    pub(crate) cover: Vec<String>,
    /// Body; `@FILE` reads a file. Without a `Content-Type` field it is JSON.
    #[arg(long, short, value_name = "BODY")]
    pub(crate) data: Option<String>,
}

/// Schemes of signed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignScheme {
    /// HTTP Message Signatures (RFC 9421), the profile of this program.
    PortcullisV1,
    /// The simple scheme.
    Pc1,
}

/// `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The API's document.
    #[arg(long, value_name = "FILE")]
    pub(crate) from_spec: PathBuf,
    /// The API behind the gateway.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) upstream: String,
    /// Write here instead of to standard output; an existing file is left alone.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The reference page in Markdown instead.
    #[arg(long)]
    pub(crate) reference: bool,
    /// The pages of problems in Markdown instead.
    #[arg(long, conflicts_with = "reference")]
    pub(crate) problems: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave a fresh gate and shop running, with curl lines to try.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `revoke`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["jti", "sid", "sub", "client", "signing_key"]))]
pub(crate) struct Revoke {
    /// Whose tokens: a name under `issuers`, or the issuer's URL.
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: String,
    /// One token, by its `jti`.
    #[arg(long, value_name = "ID")]
    pub(crate) jti: Option<String>,
    /// All tokens of a login, by their `sid`.
    #[arg(long, value_name = "ID")]
    pub(crate) sid: Option<String>,
    /// All tokens of a subject.
    #[arg(long, value_name = "ID")]
    pub(crate) sub: Option<String>,
    /// All tokens of a client.
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// All tokens that a key of the issuer signed, by its `kid`.
    #[arg(long, value_name = "KID")]
    pub(crate) signing_key: Option<String>,
    /// Of a subject, client or key only what was issued until then; now by default.
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Option<String>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Configuration file; its store is opened.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml")]
    pub(crate) config: PathBuf,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) verb: AuditVerb,
}

/// What to do with the audit ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Find every entry that was changed, removed, moved or cut off, and say what is not signed yet. Exit code 1 if there is one.
    VerifyLedger(VerifyLedger),
    /// Print the ledger's entries; with `--format json` the lines that were hashed.
    Ledger(Ledger),
    /// Print the public key that checkpoints are verified with, to be kept elsewhere.
    PublicKey {
        #[command(flatten)]
        place: LedgerPlace,
    },
}

/// Where the ledger is.
#[derive(Debug, Args)]
pub(crate) struct LedgerPlace {
    /// Configuration file that names the store.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml")]
    pub(crate) config: PathBuf,
    /// The store's folder itself: a copy, or one whose configuration is gone.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub(crate) store: Option<PathBuf>,
}

/// `audit verify-ledger`.
#[derive(Debug, Args)]
pub(crate) struct VerifyLedger {
    #[command(flatten)]
    pub(crate) place: LedgerPlace,
    /// A file of checkpoints that were shipped elsewhere, or a log that they stand in.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoints: Vec<PathBuf>,
    /// Believe this public key (64 hexadecimal digits) and not the one beside the ledger.
    #[arg(long = "public-key", value_name = "HEX")]
    pub(crate) public_keys: Vec<String>,
}

/// `audit ledger`.
#[derive(Debug, Args)]
pub(crate) struct Ledger {
    #[command(flatten)]
    pub(crate) place: LedgerPlace,
    /// Only what happened since: RFC 3339 or unix seconds.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only entries after this number.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<i64>,
}

/// `keys`.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Configuration file; its store is opened.
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.yaml", global = true)]
    pub(crate) config: PathBuf,
    /// Text or JSON.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) verb: KeyVerb,
}

/// Which listener.
#[derive(Debug, Args)]
pub(crate) struct KeyPins {
    /// Its name.
    #[arg(long, value_name = "NAME", default_value = "public")]
    pub(crate) listener: String,
}

/// Which listener, and where the key goes where certificates are files.
#[derive(Debug, Args)]
pub(crate) struct KeyPromote {
    /// Its name.
    #[arg(long, value_name = "NAME", default_value = "public")]
    pub(crate) listener: String,
    /// A new file for the key, which only its owner reads.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// A new file for the certificate signing request.
    #[arg(long, value_name = "FILE")]
    pub(crate) csr_file: Option<PathBuf>,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "made once, from the command line")]
pub(crate) enum KeyVerb {
    /// Make a key. Its secret is the only thing on standard output, and is shown this once.
    Create(KeyCreate),
    /// Hashes of the TLS keys that apps may pin: those that are served, the backup, the roots.
    #[command(after_help = "Example:\n  portcullis keys pins --listener public --format json")]
    Pins(KeyPins),
    /// Make the backup key of a listener the key of its next certificate.
    #[command(
        after_help = "Examples:\n  portcullis keys promote-backup --listener public\n  portcullis keys promote-backup --listener public --key-file tls/key.pem --csr-file tls/request.pem"
    )]
    PromoteBackup(KeyPromote),
    /// List keys; never their secrets.
    List(KeyList),
    /// Give a key a successor; both work during the grace.
    Rotate(KeyRotate),
    /// End a key at once, for good.
    Revoke {
        /// Public id (16 characters).
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Stop a key for now.
    Suspend {
        /// Public id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a suspended key work again.
    Resume {
        /// Public id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `keys create`.
#[derive(Debug, Args)]
pub(crate) struct KeyCreate {
    /// What it is for.
    #[arg(long)]
    pub(crate) name: String,
    /// Whose it is; made if there is none of that name.
    #[arg(long)]
    pub(crate) owner: String,
    /// How it is used.
    #[arg(long, value_enum, default_value_t = KeyKind::Bearer)]
    pub(crate) kind: KeyKind,
    /// Which environment it opens.
    #[arg(long, value_enum, default_value_t = KeyEnv::Live)]
    pub(crate) env: KeyEnv,
    /// Tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Scopes; at least one.
    #[arg(long = "scope", required = true)]
    pub(crate) scopes: Vec<String>,
    /// APIs (`shop`) or operations (`shop:createTransfer`); at least one.
    #[arg(long = "api", required = true)]
    pub(crate) apis: Vec<String>,
    /// Networks it may come from.
    #[arg(long = "ip", value_name = "CIDR")]
    pub(crate) ips: Vec<String>,
    /// Public key (JWK) of a key of kind `jwk`.
    #[arg(long, value_name = "FILE")]
    pub(crate) jwk: Option<PathBuf>,
    /// Attributes, `NAME=VALUE`.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// When it begins to work: RFC 3339 or unix seconds.
    #[arg(long, value_name = "TIME")]
    pub(crate) activate_at: Option<String>,
    /// When it ends, if before its rotation.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<String>,
    /// E-mail of its owner, for notices.
    #[arg(long, value_name = "MAIL")]
    pub(crate) contact: Option<String>,
    /// Overlap after rotation, 24h–72h.
    #[arg(long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
    /// Write the secret here (mode 0600) instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `keys list`.
#[derive(Debug, Args)]
pub(crate) struct KeyList {
    /// Of one owner.
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// Of one tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// In one state (`active`, `due`, `deprecated`, …).
    #[arg(long)]
    pub(crate) state: Option<String>,
}

/// `keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct KeyRotate {
    /// Public id.
    pub(crate) id: String,
    /// Overlap, 24h–72h.
    #[arg(long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
    /// The overlap begins when the successor is first used.
    #[arg(long)]
    pub(crate) on_first_use: bool,
    /// The successor's public key (JWK), for a key of kind `jwk`.
    #[arg(long, value_name = "FILE")]
    pub(crate) jwk: Option<PathBuf>,
    /// Why; `compromised` ends the old key at once.
    #[arg(long, value_enum, default_value_t = KeyReason::Scheduled)]
    pub(crate) reason: KeyReason,
    /// Write the secret here (mode 0600) instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// The key itself is sent.
    Bearer,
    /// A secret that signs and is never sent.
    Hmac,
    /// The partner keeps the private key.
    Jwk,
}

/// Environment of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyEnv {
    /// Production.
    Live,
    /// Everything else.
    Test,
}

/// Why a key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyReason {
    /// It was time.
    Scheduled,
    /// Somebody else may have it.
    Compromised,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
