//! `portcullis demo`: attacks and honest calls, over real sockets, against the example shop directly and
//! through this very program, which is started as a child process the way an operator starts it.

mod case;
mod cases;
mod client;
mod gate;
mod issuer;
mod report;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use portcullis_shop::Shop;

use case::{Case, Side};
use gate::Gate;
use issuer::Issuer;
use report::Outcome;

/// What the command line says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// One JSON object on stdout in place of the scoreboard.
    pub(crate) json: bool,
    /// Afterwards leave a fresh gate and shop running, with curl lines to try, until a signal comes.
    pub(crate) serve: bool,
}

/// Runs the demo. The exit code is 0 when every attack got in directly and none through the gate, and every
/// honest call passed both ways; else 1.
///
/// # Errors
/// When the shop or the gate cannot be started, or stdout cannot be written.
pub(crate) fn run(options: Options) -> io::Result<ExitCode> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bare = Shop::open(anywhere)?;
    let guarded = Shop::open(anywhere)?;
    let issuer = Issuer::new()?;
    let gate = Gate::start(&guarded, &issuer)?;

    let direct = Side::new(bare.address(), &bare, &issuer);
    let through = Side::new(gate.address(), &guarded, &issuer);
    let results = report::with_progress(!options.json, &cases::all(), |case: &Case| Outcome {
        case: *case,
        direct: direct.run(case),
        through: through.run(case),
    })?;
    let good = report::good(&results);
    if options.json {
        report::json(&results)?;
    } else {
        report::scoreboard(&results)?;
    }
    if options.serve {
        // A fresh one: the attacks have used up the budgets of the first.
        drop(gate);
        guarded.reset();
        let gate = Gate::start(&guarded, &issuer)?;
        report::curl_lines(&gate, &bare, &issuer)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(until_signalled())?;
        writeln!(io::stderr(), "ending")?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn until_signalled() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
