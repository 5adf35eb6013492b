//! Values of conditions, and what a context's JSON becomes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value as Json;

use super::time;
use crate::model::source::ParameterType;

/// A value while a condition is judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    /// Nanoseconds.
    Duration(i128),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    Ip(IpAddr),
    List(Arc<Vec<Value>>),
    Map(Arc<BTreeMap<String, Value>>),
}

/// Converts a value of a context to its parameter's type. Numbers may come as decimal texts.
pub(super) fn convert(json: &Json, to: &ParameterType, depth: usize) -> Option<Value> {
    if depth > 32 {
        return None;
    }
    Some(match to {
        ParameterType::Bool => Value::Bool(json.as_bool()?),
        ParameterType::String => Value::String(json.as_str()?.into()),
        ParameterType::Int => Value::Int(match json {
            Json::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole_i64))?,
            Json::String(text) => decimal(text)?.parse().ok()?,
            _ => return None,
        }),
        ParameterType::Uint => Value::Uint(match json {
            Json::Number(number) => number.as_u64().or_else(|| {
                number.as_f64().and_then(whole_i64).and_then(|whole| u64::try_from(whole).ok())
            })?,
            Json::String(text) => decimal(text)?.parse().ok()?,
            _ => return None,
        }),
        ParameterType::Double => Value::Double(match json {
            Json::Number(number) => number.as_f64().filter(|double| double.is_finite())?,
            Json::String(text) => float(text)?,
            _ => return None,
        }),
        ParameterType::Duration => Value::Duration(time::duration(json.as_str()?)?),
        ParameterType::Timestamp => Value::Timestamp(time::timestamp(json.as_str()?)?),
        ParameterType::IpAddress => Value::Ip(address(json.as_str()?)?),
        ParameterType::Any => untyped(json, depth)?,
        ParameterType::List(of) => {
            let all = json
                .as_array()?
                .iter()
                .map(|each| convert(each, of, depth + 1))
                .collect::<Option<Vec<_>>>()?;
            Value::List(Arc::new(all))
        }
        ParameterType::Map(of) => {
            let all = json.as_object()?.iter();
            let all = all.map(|(key, each)| Some((key.clone(), convert(each, of, depth + 1)?)));
            Value::Map(Arc::new(all.collect::<Option<BTreeMap<_, _>>>()?))
        }
    })
}

fn untyped(json: &Json, depth: usize) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        // JSON has one kind of number; so has this type.
        Json::Number(number) => Value::Double(number.as_f64()?),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(_) => convert(json, &ParameterType::List(Box::new(ParameterType::Any)), depth)?,
        Json::Object(_) => convert(json, &ParameterType::Map(Box::new(ParameterType::Any)), depth)?,
    })
}

/// An address. An IPv4 address inside IPv6 is that IPv4 address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether `address` lies in `block`; nothing where `block` is none.
pub(super) fn in_cidr(address: IpAddr, block: &str) -> Option<bool> {
    let (base, length) = block.split_once('/')?;
    let parsed: IpAddr = base.parse().ok()?;
    let digits = (1..=3).contains(&length.len()) && length.bytes().all(|b| b.is_ascii_digit());
    let length: u32 = if digits { length.parse().ok()? } else { return None };
    let base = parsed.to_canonical();
    // A block of mapped addresses counts its length from the front of the IPv6 form.
    let length = if parsed.is_ipv6() && base.is_ipv4() { length.checked_sub(96)? } else { length };
    let within = |width: u32, a: u128, b: u128| {
        let shift = width.checked_sub(length)?;
        Some(length == 0 || (a >> shift) == (b >> shift))
    };
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => within(32, u128::from(a.to_bits()), u128::from(b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => within(128, a.to_bits(), b.to_bits()),
        _ => within(if base.is_ipv4() { 32 } else { 128 }, 0, 0).map(|_| false),
    }
}

fn whole_i64(double: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (double.trunc() == double && double.abs() <= EXACT).then_some(double as i64)
}

/// Digits with an optional sign, and perhaps `.0…`: an integer with a fraction is none.
fn decimal(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let number = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit());
    (number && !fraction.is_empty() && fraction.bytes().all(|b| b == b'0')).then_some(whole)
}

fn float(text: &str) -> Option<f64> {
    let known = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|double| known && text.len() <= 64 && double.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        let holds = |a: &str, block: &str| in_cidr(address(a).unwrap(), block);
        assert_eq!(holds("192.168.1.7", "192.168.0.0/16"), Some(true));
        assert_eq!(holds("192.169.1.7", "192.168.0.0/16"), Some(false));
        assert_eq!(holds("10.0.0.1", "0.0.0.0/0"), Some(true));
        assert_eq!(holds("::1", "0.0.0.0/0"), Some(false));
        assert_eq!(holds("::ffff:10.1.2.3", "10.0.0.0/8"), Some(true), "mapped is IPv4");
        assert_eq!(holds("10.1.2.3", "::ffff:10.0.0.0/104"), Some(true));
        assert_eq!(holds("2001:db8::1", "2001:db8::/32"), Some(true));
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "x/8",
            "10.0.0.0/",
            "::/129",
        ] {
            assert_eq!(holds("10.0.0.1", bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_convert_or_do_not() {
        use serde_json::json;
        let int = |json| convert(&json, &ParameterType::Int, 0);
        assert_eq!(int(json!("10")), Some(Value::Int(10)));
        assert_eq!(int(json!(10.0)), Some(Value::Int(10)));
        for bad in [
            json!(1.5),
            json!("1.5"),
            json!("0x1"),
            json!("+1"),
            json!(""),
            json!(true),
            json!("9223372036854775808"),
        ] {
            assert_eq!(int(bad.clone()), None, "{bad}");
        }
        assert_eq!(convert(&json!(-1), &ParameterType::Uint, 0), None);
        assert_eq!(convert(&json!("inf"), &ParameterType::Double, 0), None);
        assert_eq!(convert(&json!("1e400"), &ParameterType::Double, 0), None);
    }
}
