//! What may be sent twice. Pure.

use http::Method;

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No byte of the request was written, and nothing was taken from its body.
    Nothing,
    /// Bytes were written, none came back.
    Sent,
    /// A byte of the response came.
    Answered,
}

/// Whether the same bytes may be sent to a server once more, budget and time aside.
///
/// - `buffered`: the body is in memory.
/// - `repeatable`: the operation is declared idempotent, or carries a declared `Idempotency-Key`.
/// - `stream`: the exchange is a stream; never sent again.
pub fn may_retry(reached: Reached, method: &Method, buffered: bool, repeatable: bool, stream: bool) -> bool {
    match reached {
        Reached::Nothing => true,
        _ if stream || !buffered => false,
        Reached::Sent => repeatable || [Method::GET, Method::HEAD, Method::OPTIONS].contains(method),
        Reached::Answered => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use Reached::{Answered, Nothing, Sent};
        for (reached, method, buffered, repeatable, stream, may) in [
            (Nothing, Method::POST, true, false, false, true),
            (Nothing, Method::POST, false, false, false, true),
            (Nothing, Method::GET, true, false, true, true),
            (Sent, Method::GET, true, true, true, false),
            (Sent, Method::POST, true, false, false, false),
            (Sent, Method::POST, true, true, false, true),
            (Sent, Method::PUT, true, false, false, false),
            (Sent, Method::DELETE, true, false, false, false),
            (Sent, Method::GET, true, false, false, true),
            (Sent, Method::HEAD, true, false, false, true),
            (Sent, Method::OPTIONS, true, false, false, true),
            (Sent, Method::GET, false, false, false, false),
            (Answered, Method::GET, true, true, false, false),
        ] {
            assert_eq!(
                may_retry(reached, &method, buffered, repeatable, stream),
                may,
                "{reached:?} {method}"
            );
        }
    }
}
