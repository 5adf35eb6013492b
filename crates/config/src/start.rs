//! The ways in: a file of configuration, or nothing but an OpenAPI document.

use crate::compile::{self, desk::Desk};
use crate::files::{Files, Given, redacted};
use crate::read;
use crate::words::api::Api;
use crate::words::caller::{Authenticate, Claims, Discovery, Issuer, Jwt, Typ};
use crate::words::listen::Listen;
use crate::words::observe::{Log, Sink};
use crate::words::{At, Document, OneOrMany, Short};
use portcullis_contract::model::Section;
use portcullis_core::finding::{Finding, Severity, SourceMap, Span};
use portcullis_plan::Plan;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What came of compiling.
#[derive(Debug)]
pub struct Outcome {
    /// The plan; nothing when there is an error among the findings.
    pub plan: Option<Plan>,
    /// Errors, warnings and remarks, in the order in which they were found.
    pub findings: Vec<Finding>,
    /// The files, for rendering findings. A secret that was written out is struck out here.
    pub sources: SourceMap,
    /// Every file that was read or looked for: a change of one is worth another compilation.
    pub files: Vec<PathBuf>,
    /// By API: every key of its document with its class, where [`Given::coverage`] asked for it.
    pub coverage: Vec<(String, Vec<Section>)>,
}

impl Outcome {
    /// How many findings weigh so much.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The findings as people read them, the worst last, where the eye is. Of one kind the first [`SHOWN`] are shown
    /// and the others counted: a large document makes the same mistake thousands of times.
    pub fn render(&self, colour: bool) -> String {
        let mut sorted: Vec<&Finding> = self.findings.iter().collect();
        sorted.sort_by_key(|finding| finding.severity);
        let mut kinds: HashMap<(Severity, &str), usize> = HashMap::new();
        for finding in &sorted {
            *kinds.entry((finding.severity, finding.code)).or_default() += 1;
        }
        let mut shown: HashMap<(Severity, &str), usize> = HashMap::new();
        let mut out = String::new();
        for finding in sorted {
            let kind = (finding.severity, finding.code);
            let count = shown.entry(kind).or_default();
            *count += 1;
            if *count <= SHOWN {
                out.push_str(&self.sources.render(finding, colour));
            }
            let more = kinds.get(&kind).map_or(0, |all| all.saturating_sub(SHOWN));
            if *count == SHOWN && more > 0 {
                let (word, code) = (finding.severity.word(), finding.code);
                out.push_str(&format!("… and {more} more of this kind ({word}[{code}])\n"));
            }
        }
        out
    }
}

/// Findings of one kind that are shown.
const SHOWN: usize = 10;

/// Largest file of configuration in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Compiles a file of configuration, or `portcullis.yaml` in a folder. Names in it are relative to its folder.
pub fn compile(path: &Path, given: Given<'_>) -> Outcome {
    let file = if path.is_dir() { path.join("portcullis.yaml") } else { path.to_owned() };
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let mut files = Files::new(folder, given);
    let shown = file.display().to_string();
    let (id, text) = match files.text(&file, MAX_FILE, Span::default()) {
        Ok(read) => read,
        Err(finding) => {
            let help = "run `portcullis init --from-spec openapi.yaml` to make one, or name it with --config";
            let finding = Finding { help: Some(help.to_owned()), ..*finding };
            return Outcome {
                plan: None,
                findings: vec![finding],
                sources: SourceMap::default(),
                files: files.watched,
                coverage: Vec::new(),
            };
        }
    };
    words(files, id, &shown, &text)
}

/// As [`compile`], with the text of the file given: for programs that make one. `name` is shown in findings.
pub fn compile_text(name: &str, text: &str, folder: &Path, given: Given<'_>) -> Outcome {
    let mut files = Files::new(folder.to_owned(), given);
    let id = files.sources.add(name, text);
    words(files, id, name, text)
}

fn words(files: Files<'_>, id: u16, name: &str, text: &str) -> Outcome {
    let reading = read::document(id, name, text);
    let mut desk = Desk::new(files);
    desk.findings = reading.findings;
    desk.secrets = reading.secrets;
    let plan = reading.document.and_then(|document| compile::plan(&mut desk, &document, None, true));
    finish(desk, plan)
}

/// What `portcullis serve openapi.yaml --upstream URL` says in place of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Where requests go.
    pub upstream: &'a str,
    /// Where to listen (`127.0.0.1:8080`).
    pub listen: Option<&'a str>,
    /// Whose tokens count.
    pub issuer: Option<&'a str>,
    /// For which audience.
    pub audience: Option<&'a str>,
    /// The issuer's keys as a JWK set file, instead of discovery.
    pub jwks: Option<&'a Path>,
    /// Anybody may call what nothing here can verify.
    pub anonymous: bool,
    /// No request log.
    pub quiet: bool,
}

/// What the issuer of the command line is called when its keys are named, too.
const ISSUER: &str = "issuer";

/// Why operations are open in the mode without a file.
pub(crate) const ANONYMOUS: &str = "--anonymous on the command line";

/// Compiles an OpenAPI document without a file of configuration.
///
/// The document decides who may call, as in a file: operations that demand a token need `issuer` and `audience`,
/// and what nothing can verify, or what the document leaves open, is refused unless `anonymous` says that anybody
/// may call it. Every such operation is then listed in a warning and among the plan's loosenings.
pub fn from_spec(path: &Path, options: Options<'_>, given: Given<'_>) -> Outcome {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut desk = Desk::new(Files::new(folder, given));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let jwt = match (options.issuer, options.audience) {
        (Some(issuer), audience) => {
            let audience = audience.map(|audience| At::nowhere(OneOrMany(vec![audience.to_owned()])));
            let issuer = if options.jwks.is_some() { ISSUER } else { issuer };
            Some(OneOrMany(vec![Jwt { issuer: At::nowhere(issuer.to_owned()), audience }]))
        }
        (None, Some(_)) => {
            let help = "add  --issuer URL";
            desk.error("issuer-missing", Span::default(), "--audience without --issuer says nothing", help);
            None
        }
        (None, None) => None,
    };
    let api = Api {
        spec: Some(At::nowhere(name)),
        upstream: Some(At::nowhere(Short::Text(options.upstream.to_owned()))),
        authenticate: At::nowhere(Authenticate { jwt, ..Authenticate::default() }),
        ..Api::default()
    };
    let mut document = Document { log: Log { sink: Sink::Stdout, ..Log::default() }, ..Document::default() };
    if options.quiet {
        document.log.sink = Sink::Off;
    }
    document.apis.push("api", api);
    if let (Some(url), Some(jwks)) = (options.issuer, options.jwks) {
        // Relative to where the command is given, and not to the document.
        let file = std::path::absolute(jwks).unwrap_or_else(|_| jwks.to_owned());
        let discovery = Discovery::File(file.display().to_string());
        document.issuers.push(ISSUER, issuer(url, discovery));
    }
    let listen = options.listen.unwrap_or(compile::DEFAULT_ADDRESS);
    let listen: Listen = OneOrMany(vec![Short::Text(listen.to_owned())]);
    document.listen = Some(At::nowhere(listen));
    let plan = compile::plan(&mut desk, &document, options.anonymous.then_some(ANONYMOUS), false);
    finish(desk, plan)
}

/// An issuer with the defaults of all else.
fn issuer(url: &str, discovery: Discovery) -> Issuer {
    Issuer {
        url: At::nowhere(url.to_owned()),
        discovery: At::nowhere(discovery),
        algorithms: Vec::new(),
        skew: None,
        max_lifetime: None,
        max_age: None,
        rsa_max_bits: None,
        revocable: false,
        claims: Claims::default(),
        typ: Typ::default(),
    }
}

fn finish(desk: Desk<'_>, plan: Option<Plan>) -> Outcome {
    let sources = match desk.secrets.as_slice() {
        [] => desk.files.sources,
        secrets => redacted(&desk.files.sources, secrets),
    };
    // What concerns many operations is found once for each.
    let mut told = HashSet::new();
    let mut findings = desk.findings;
    findings.retain(|finding| told.insert((finding.code, finding.at, finding.message.clone())));
    Outcome { plan, findings, sources, files: desk.files.watched, coverage: desk.coverage }
}
