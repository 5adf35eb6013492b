//! `portcullis explain`: the same gates, in the same order, and nothing is forwarded.

use super::{colour_of_errors, colour_of_output, fail, say, tell};
use crate::assemble::{self, Trouble, given, variable};
use crate::cli::{Explain, Format};
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request};
use portcullis_core::finding::SourceMap;
use portcullis_core::verdict::Stop;
use portcullis_egress::Door;
use portcullis_gateway::explain::{Asked, Explained, explain};
use portcullis_gateway::services::Services;
use portcullis_gateway::wire::upstream::Pool;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;

/// Exit code 0: it would be forwarded. 3: it would be refused. 1: the configuration or the question is wrong.
pub(crate) fn run(explain: &Explain) -> ExitCode {
    match judge(explain) {
        Ok((explained, sources)) => {
            if explain.format == Format::Json {
                say(&as_json(&explained, &sources));
            } else {
                say(&as_text(&explained, &sources));
            }
            if refused(&explained) { ExitCode::from(3) } else { ExitCode::SUCCESS }
        }
        Err(trouble) => fail(&trouble.to_string()),
    }
}

fn judge(question: &Explain) -> Result<(Explained, SourceMap), Trouble> {
    let outcome = portcullis_config::compile(&question.config, given(&variable));
    let Some(plan) = outcome.plan else {
        tell(&outcome.render(colour_of_errors()));
        return Err(Trouble("the configuration does not compile".to_owned()));
    };
    let sources = plan.sources.clone();
    let tls = plan.listeners.iter().any(|l| l.tls.is_some());
    let asked = asked(question, &plan, tls)?;
    let (shared, fresh) = assemble::shared(plan, true)?;
    let door = Arc::new(Door::new());
    let beside =
        crate::beside::start(shared.clone(), door.clone(), None).map_err(|e| Trouble(e.to_string()))?;
    beside.look_after(fresh);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Trouble(e.to_string()))?;
    let local = tokio::task::LocalSet::new();
    let explained = local.block_on(&runtime, async move {
        let services = Services::new(shared, Pool::new(door), true);
        explain(asked, &services).await
    });
    Ok((explained, sources))
}

/// The question as a request.
fn asked(question: &Explain, plan: &portcullis_plan::Plan, tls: bool) -> Result<Asked, Trouble> {
    let wrong = |what: &str| Trouble(format!("{what}; see portcullis explain --help"));
    let (host, target) = match question.url.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, target) = rest.split_at_checked(at).ok_or_else(|| wrong("the URL is not one"))?;
            (host.to_owned(), if target.starts_with('/') { target.to_owned() } else { format!("/{target}") })
        }
        None => {
            let named = plan.hosts.named.first().map(|(host, _)| host.to_string());
            (named.unwrap_or_else(|| "localhost".to_owned()), question.url.clone())
        }
    };
    let mut request = Request::builder().method(question.method.as_str()).uri(&target);
    let headers = request.headers_mut().ok_or_else(|| wrong("the method or URL is not one"))?;
    headers.insert(HOST, HeaderValue::try_from(host).map_err(|_| wrong("the host is not one"))?);
    for field in &question.header {
        let (name, value) = field.split_once(':').ok_or_else(|| wrong("a header is `Name: value`"))?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| wrong("a header's name is not one"))?;
        headers.append(
            name,
            HeaderValue::try_from(value.trim()).map_err(|_| wrong("a header's value is not one"))?,
        );
    }
    if let Some(token) = &question.token {
        let value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong("the token is not one"))?;
        headers.insert(http::header::AUTHORIZATION, value);
    }
    let body = match question.data.as_deref() {
        None => Vec::new(),
        Some(data) => match data.strip_prefix('@') {
            Some(path) => std::fs::read(path).map_err(|e| Trouble(format!("{path}: {e}")))?,
            None => data.as_bytes().to_vec(),
        },
    };
    if !body.is_empty() {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let (parts, ()) = request.body(()).map_err(|_| wrong("the method or URL is not one"))?.into_parts();
    Ok(Asked { parts, body, from: question.from, tls })
}

fn refused(explained: &Explained) -> bool {
    !matches!(&explained.stop, Stop::Answer(answer) if answer.status < 400)
}

fn verdict(explained: &Explained) -> (u16, String, String) {
    match &explained.stop {
        Stop::Refusal(r) => {
            (r.status.unwrap_or(r.code.status()), r.code.text().to_owned(), r.reason.to_string())
        }
        Stop::Fault(f) => (f.code.status(), f.code.text().to_owned(), f.reason.to_string()),
        Stop::Answer(a) if a.reason == "explained" => (0, "would be forwarded".to_owned(), String::new()),
        Stop::Answer(a) => (a.status, "answered by the gate itself".to_owned(), a.reason.to_owned()),
    }
}

fn as_text(explained: &Explained, sources: &SourceMap) -> String {
    let colour = colour_of_output();
    let paint = |code: &str, text: &str| {
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let mut out = String::new();
    let last = explained.trail.steps().len();
    for (i, step) in explained.trail.steps().iter().enumerate() {
        let stopped = refused(explained) && i + 1 == last;
        let mark = if stopped { paint("1;31", "✗") } else { paint("1;32", "✓") };
        let place = step.rule.map(|at| sources.place(at)).unwrap_or_default();
        out.push_str(&format!(
            "{mark} {:<10} {:<48} {}\n",
            step.gate.word(),
            step.decision,
            paint("2", &place)
        ));
    }
    let (status, code, reason) = verdict(explained);
    match status {
        0 => out.push_str(&format!("{}\n", paint("1;32", &code))),
        _ => out.push_str(&format!("{} {} ({reason})\n", paint("1;31", &status.to_string()), code)),
    }
    if let Stop::Refusal(refusal) = &explained.stop {
        for item in &refusal.errors {
            let place = match (&item.pointer, &item.parameter) {
                (Some(pointer), _) => format!("body {pointer}"),
                (_, Some((name, place))) => format!("{place} parameter {name}"),
                _ => String::new(),
            };
            out.push_str(&format!("  {place}: {} ({})\n", item.message, item.rule));
        }
    }
    for decision in &explained.limits {
        out.push_str(&format!("  limit {decision}\n"));
    }
    out
}

fn as_json(explained: &Explained, sources: &SourceMap) -> String {
    let (status, code, reason) = verdict(explained);
    let steps: Vec<_> = explained
        .trail
        .steps()
        .iter()
        .map(|s| json!({"gate": s.gate.word(), "decision": s.decision, "rule": s.rule.map(|at| sources.place(at))}))
        .collect();
    let value = json!({"forwarded": !refused(explained), "status": status, "code": code, "reason": reason,
                       "steps": steps, "limits": explained.limits});
    format!("{value:#}\n")
}
