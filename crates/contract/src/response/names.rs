//! Names that no response shows unless its contract declares them (§ 15.2).

/// Names that are dropped where they are undeclared, in any case and spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeverLeak {
    /// Additions of `response.never_leak`, folded.
    more: Vec<Box<str>>,
}

const WHOLE: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "hash",
    "salt",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "cvv",
    "cvc",
    "pin",
    "ssn",
];
const LAST: &[&str] = &["hash", "secret", "token", "password", "passwd", "pwd"];
const FIRST: &[&str] = &["internal"];

impl NeverLeak {
    /// The built-in names, and more. There is no way to have fewer.
    pub fn with<'n>(more: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            more: more
                .into_iter()
                .map(|name| words(name).concat())
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect(),
        }
    }

    /// Whether a member of that name stays in.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('_') {
            return true;
        }
        let words = words(name);
        let whole = words.concat();
        WHOLE.contains(&whole.as_str())
            || self.more.iter().any(|more| **more == *whole)
            || words.last().is_some_and(|word| words.len() > 1 && LAST.contains(&word.as_str()))
            || words.first().is_some_and(|word| words.len() > 1 && FIRST.contains(&word.as_str()))
    }
}

/// `passwordHash`, `password-hash`, `PASSWORD_HASH` → `password`, `hash`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            continue;
        }
        let before = i.checked_sub(1).and_then(|i| chars.get(i));
        let after = chars.get(i + 1);
        let begins = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_numeric() || after.is_some_and(|a| a.is_lowercase())
            });
        if begins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_case_and_spelling() {
        let names = NeverLeak::with(["national_id"]);
        for name in [
            "password",
            "Password",
            "PASSWD",
            "pwd",
            "hash",
            "passwordHash",
            "password_hash",
            "PasswordHash",
            "client-secret",
            "clientSecret",
            "CLIENT_SECRET",
            "accessToken",
            "access_token",
            "API_KEY",
            "apiKey",
            "APIKey",
            "privateKey",
            "private-key",
            "cvv",
            "CVC",
            "pin",
            "ssn",
            "internal_id",
            "internalNotes",
            "INTERNAL_NOTES",
            "_id",
            "__v",
            "national_id",
            "nationalId",
            "NATIONAL-ID",
            "userPassword",
            "salt",
        ] {
            assert!(names.matches(name), "{name}");
        }
        for name in [
            "id",
            "spin",
            "pinned",
            "hashtag",
            "tokens_used",
            "secretary",
            "internally",
            "international",
            "status",
            "salty",
            "nation",
            "",
            "tokenizer",
        ] {
            assert!(!names.matches(name), "{name}");
        }
    }
}
