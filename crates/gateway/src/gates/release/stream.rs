//! Streams on their way out, event by event (contract.md § 15.4).

use crate::wire::Cut;
use crate::wire::upstream::UpstreamBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_contract::response::{StreamEnd, Streamer, Tally};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What a stream did, for whoever writes its line once it has ended.
#[derive(Debug, Default)]
pub struct Streamed {
    /// What left, and what did not.
    pub tally: Tally,
    /// Why it was ended.
    pub end: Option<StreamEnd>,
}

/// Shared with the passage.
pub type Ledger = Rc<RefCell<Streamed>>;

/// A stream of which only what is declared leaves. Holds one event at most.
pub(super) struct Filtered {
    body: UpstreamBody,
    streamer: Streamer,
    ledger: Ledger,
    /// Said once what was released has left.
    end: Option<StreamEnd>,
    done: bool,
}

impl Filtered {
    pub(super) fn new(body: UpstreamBody, streamer: Streamer) -> (Self, Ledger) {
        let ledger = Ledger::default();
        (Self { body, streamer, ledger: ledger.clone(), end: None, done: false }, ledger)
    }

    /// Never as if it were complete: the next reader must know that something is missing.
    fn over(&mut self, end: StreamEnd) -> Cut {
        self.done = true;
        self.ledger.borrow_mut().end = Some(end);
        Cut("an event that may not leave")
    }
}

impl Body for Filtered {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let me = &mut *self;
        if let Some(end) = me.end.take() {
            return Poll::Ready(Some(Err(me.over(end))));
        }
        while !me.done {
            let mut out = Vec::new();
            let fed = match std::task::ready!(Pin::new(&mut me.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => me.streamer.feed(&data, &mut out),
                    // Trailers end here.
                    Err(_) => Ok(()),
                },
                Some(Err(cut)) => {
                    me.done = true;
                    return Poll::Ready(Some(Err(cut)));
                }
                None => {
                    me.done = true;
                    me.streamer.finish(&mut out)
                }
            };
            me.ledger.borrow_mut().tally = me.streamer.tally().clone();
            match fed {
                Err(end) if out.is_empty() => return Poll::Ready(Some(Err(me.over(end)))),
                Err(end) => {
                    me.end = Some(end);
                    me.done = true;
                }
                Ok(()) => {}
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.end.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
