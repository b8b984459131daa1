//! SIGTERM and SIGINT: stop; a second one: now.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a stop that did not wait.
const STOPPED_NOW: i32 = 1;

/// Cancels `shutdown` at the first signal and ends the process at the second. Whatever is cut off then is as safe as in
/// a crash: receipts are in the journal.
pub(crate) fn cancel_on_stop(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut stop = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        stop().await;
        tracing::info!("stopping: no new calls, those under way may finish; once more to stop now");
        shutdown.cancel();
        stop().await;
        tracing::warn!("stopping now");
        stop_now();
    });
    Ok(())
}

#[expect(
    clippy::exit,
    reason = "a second signal asks for exactly this: no destructor may wait for anything"
)]
fn stop_now() {
    std::process::exit(STOPPED_NOW);
}
