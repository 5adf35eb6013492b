//! Durations, sizes, rates, networks, dates and references to secrets, as people write them.

use crate::date::Date;
use ipnet::IpNet;
use portcullis_core::units;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// One kind of scalar: how it is called in messages, an example, and whether a text is one.
pub(crate) struct Grammar {
    /// `format` in the JSON Schema.
    pub(crate) format: &'static str,
    /// In a sentence: "`15m` is not …".
    pub(crate) noun: &'static str,
    /// An example that is right.
    pub(crate) example: &'static str,
    /// The form, for editors.
    pub(crate) pattern: &'static str,
    /// Judges a text.
    pub(crate) holds: fn(&str) -> bool,
}

/// Every scalar that has a grammar of its own.
pub(crate) const GRAMMARS: &[Grammar] = &[
    Grammar {
        format: "duration-words",
        noun: "a duration",
        example: "15m",
        pattern: "^[0-9]+ ?(us|ms|s|m|min|h|d)$",
        holds: |text| units::parse_duration(text).is_some(),
    },
    Grammar {
        format: "size-words",
        noun: "a size",
        example: "1MiB",
        pattern: "^[0-9]+ ?(B|KiB|MiB|GiB|kB|KB|MB|GB)?$",
        holds: |text| units::parse_size(text).is_some(),
    },
    Grammar {
        format: "rate-words",
        noun: "a rate",
        example: "100/min",
        pattern: "^[0-9]+ ?/ ?[0-9a-z]+$",
        holds: |text| text.parse::<portcullis_limits::Rate>().is_ok(),
    },
    Grammar {
        format: "network",
        noun: "a network or address",
        example: "10.0.0.0/8",
        pattern: "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
        holds: |text| parse_network(text).is_some(),
    },
    Grammar {
        format: "date-words",
        noun: "a date",
        example: "2027-12-31",
        pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        holds: |text| Date::parse(text).is_some(),
    },
];

macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_str(Scalar)?;
                let parse: fn(&str) -> Option<$inner> = $parse;
                parse(&text).map(Self).ok_or_else(|| D::Error::custom(concat!("not a ", $format)))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                of_format($format)
            }
        }
    };
}

scalar!(
    /// A duration (`15m`, `250ms`, `90d`), in microseconds.
    Duration(u64), "duration-words", units::parse_duration
);
scalar!(
    /// A size (`1MiB`, `512B`), in bytes.
    Size(u64), "size-words", units::parse_size
);
scalar!(
    /// A network in CIDR form, or one address.
    Network(IpNet), "network", parse_network
);
scalar!(
    /// A rate (`100/min`).
    Rate(portcullis_limits::Rate), "rate-words", |text| text.parse().ok()
);
scalar!(
    /// A day, `2027-12-31`.
    Day(Date), "date-words", Date::parse
);

impl Duration {
    /// As the standard library has it.
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }

    /// Whole seconds.
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// Where a secret or a certificate is found. The content itself never stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(extend("x-secret" = true))]
pub enum Reference {
    /// A file, relative to the folder of the configuration.
    File(String),
    /// An environment variable of the process.
    Env(String),
}

impl Reference {
    /// As shown in messages; never content.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Env(name) => format!("${name}"),
        }
    }
}

fn of_format(format: &str) -> Schema {
    let grammar = GRAMMARS.iter().find(|grammar| grammar.format == format);
    let (pattern, example) = grammar.map_or(("", ""), |g| (g.pattern, g.example));
    let types = if format == "size-words" {
        serde_json::json!(["string", "integer"])
    } else {
        serde_json::json!("string")
    };
    schemars::json_schema!({ "type": types, "format": format, "pattern": pattern, "examples": [example] })
}

/// `10.0.0.0/8`, or one address.
fn parse_network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    // `10.0.0.1/8` is a typing error more often than it is meant.
    (net.addr() == net.network()).then_some(net)
}

/// Text, or a number as it was written.
pub(crate) struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}
