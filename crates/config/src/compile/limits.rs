//! Limits: from words to the layers that `limits` compiles.

use super::desk::Desk;
use crate::words::At;
use crate::words::limits::{self as words, Closer, Match, Setting as Word};
use portcullis_core::finding::Span;
use portcullis_limits::Window;
use portcullis_limits::policy::{
    ConsumerPlan, Flood, Layers, Limit, PolicyError, PolicyErrorKind, Quota, Setting,
};
use std::sync::Arc;

/// The limits of the top level, ready for each operation.
pub(crate) struct Top {
    pub(crate) layers: Layers,
    pub(crate) flood: Flood,
    pub(crate) plans: Vec<(Arc<str>, ConsumerPlan)>,
    sensitive: Vec<(Match, Span, bool)>,
}

pub(crate) fn top(desk: &mut Desk<'_>, words: &words::Limits) -> Top {
    let mut layers = Layers {
        global: setting(desk, words.global.as_ref()),
        address: setting(desk, words.address.as_ref()),
        key: setting(desk, words.key.as_ref()),
        user: setting(desk, words.user.as_ref()),
        tenant: setting(desk, words.tenant.as_ref()),
        endpoint: None,
        cost: None,
    };
    let mut sensitive = Vec::new();
    if let Some(word) = &words.sensitive {
        let rate =
            word.rate.as_ref().map_or_else(|| portcullis_limits::Rate::per_minute(5), |rate| rate.value.0);
        let windows = vec![Window { rate, burst: word.burst }];
        let limit = Limit { windows, strict_window: false, shadow: word.shadow, at: Some(word.at) };
        layers.endpoint = Some(Setting::On(limit));
        sensitive = word.r#match.iter().map(|one| (one.value.clone(), one.at, false)).collect();
    }
    let flood = Flood::compile(&layers).map_err(|error| report(desk, &error)).unwrap_or_default();
    let mut plans = Vec::new();
    for (name, plan) in words.plans.iter() {
        let layers = Layers {
            key: setting(desk, plan.key.as_ref()),
            user: setting(desk, plan.user.as_ref()),
            tenant: setting(desk, plan.tenant.as_ref()),
            ..Layers::default()
        };
        match ConsumerPlan::compile(&layers) {
            Ok(plan) => plans.push((Arc::from(name.as_str()), plan)),
            Err(error) => report(desk, &error),
        }
    }
    Top { layers, flood, plans, sensitive }
}

impl Top {
    /// Whether an operation is named sensitive, by its id or one of its tags.
    pub(crate) fn is_sensitive<'t>(&mut self, operation: &str, tags: impl Iterator<Item = &'t str>) -> bool {
        let tags: Vec<&str> = tags.collect();
        let mut hit = false;
        for (rule, _, used) in &mut self.sensitive {
            let matches = match rule {
                Match::Tag(tag) => tags.contains(&tag.as_str()),
                Match::Operation(id) => id == operation,
            };
            *used |= matches;
            hit |= matches;
        }
        hit
    }

    /// Rules that fit nothing protect nothing.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (&Match, Span)> {
        self.sensitive.iter().filter(|(_, _, used)| !used).map(|(rule, at, _)| (rule, *at))
    }
}

/// The limits of an API, a tag or an operation.
pub(crate) fn closer(desk: &mut Desk<'_>, words: &Closer) -> Layers {
    Layers {
        key: setting(desk, words.key.as_ref()),
        user: setting(desk, words.user.as_ref()),
        endpoint: setting(desk, words.endpoint.as_ref()),
        tenant: setting(desk, words.tenant.as_ref()),
        cost: words.cost.as_ref().map(|cost| cost.value),
        ..Layers::default()
    }
}

/// The layers of one operation.
pub(crate) fn quota(
    desk: &mut Desk<'_>,
    top: &Layers,
    closer: &[(&str, &Layers)],
    operation: &str,
    sensitive: bool,
    at: Span,
) -> Option<Quota> {
    match Quota::compile(top, closer, operation, sensitive) {
        Ok(quota) => Some(quota),
        Err(mut error) => {
            error.at = error.at.or(Some(at));
            report(desk, &error);
            None
        }
    }
}

fn setting(desk: &mut Desk<'_>, word: Option<&At<Word>>) -> Option<Setting> {
    let word = word?;
    let limit = match &word.value {
        Word::Off => return Some(Setting::Off),
        Word::On(limit) => limit,
    };
    let mut windows: Vec<Window> = Vec::new();
    windows.extend(limit.rate.as_ref().map(|rate| Window { rate: rate.value.0, burst: limit.burst }));
    windows.extend(limit.windows.iter().map(|one| Window { rate: one.rate.0, burst: one.burst }));
    windows.extend(limit.quota.as_ref().map(|quota| Window::from(quota.value.0)));
    if windows.is_empty() {
        let help = "write  { rate: 100/min, burst: 20 }  or  off";
        desk.error("limit-empty", word.at, "this limit has no rate", help);
        return None;
    }
    let limit =
        Limit { windows, strict_window: limit.strict_window, shadow: limit.shadow, at: Some(word.at) };
    Some(Setting::On(limit))
}

fn report(desk: &mut Desk<'_>, error: &PolicyError) {
    let (code, help) = match error.kind {
        PolicyErrorKind::Bucket(_) => ("limit-invalid", "write it like  { rate: 100/min, burst: 20 }"),
        PolicyErrorKind::CostExceedsBurst { .. } => {
            ("cost-exceeds-burst", "the operation could never be called: lower its cost or raise the burst")
        }
    };
    desk.error(code, error.at.unwrap_or_default(), error.to_string(), help);
}
