//! Progress bars for scans, drawn only if standard error is a terminal.

use std::{convert::Infallible, future::Future, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use scangate_client::{
    Client,
    v1::{ScanProgress, WatchScanRequest, WatchScanResponse, watch_scan_response::Event},
};

use crate::{format, report::sanitize, session::Session};

/// The interval between two frames of the spinner.
const TICK_INTERVAL: Duration = Duration::from_millis(120);

/// Awaits the work and shows the progress of the watched scan until the work is done.
pub(crate) async fn with_progress<T>(
    session: &Session,
    watch: Option<WatchScanRequest>,
    work: impl Future<Output = T>,
) -> T {
    let Some(watch) = watch.filter(|_| session.is_interactive) else {
        return work.await;
    };
    let bar = new_bar();
    let result = tokio::select! {
        result = work => result,
        never = follow_scan(&session.client, watch, &bar) => match never {},
    };
    bar.finish_and_clear();
    result
}

/// Returns a bar that is drawn on a terminal only; it is a spinner until the number of scans is known.
pub(crate) fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message("waiting for the scan");
    set_style(&bar, "{spinner} {msg} {elapsed}");
    bar.enable_steady_tick(TICK_INTERVAL);
    bar
}

/// Sets the bar to the progress in the message.
pub(crate) fn update(bar: &ProgressBar, message: &WatchScanResponse) {
    if bar.length().is_none() {
        set_style(bar, "{spinner} {msg} [{bar:24}] {pos}/{len} {elapsed}");
    }
    bar.set_length(message.total_count.try_into().unwrap_or_default());
    bar.set_position(message.ended_count.try_into().unwrap_or_default());
    if let Some(Event::Progress(progress)) = &message.event {
        bar.set_message(sanitize(&describe(progress)));
    }
}

/// Sets the style; with an invalid template, indicatif's default style remains.
fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// Returns the state of one manifest, e.g. `linux/amd64 sha256:0123456789ab IN_PROGRESS`.
pub(crate) fn describe(progress: &ScanProgress) -> String {
    let Some(manifest) = &progress.manifest else {
        return String::new();
    };
    let status = manifest.scan.as_ref().map_or(0, |scan| scan.status);
    let platform = format::platform(manifest.platform.as_ref());
    let parts = [platform, format::short_digest(&manifest.digest), format::scan_status(status)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Updates the bar and never returns: the work may outlast the scan. If the watch fails, the bar is not updated further.
async fn follow_scan(client: &Client, request: WatchScanRequest, bar: &ProgressBar) -> Infallible {
    if let Ok(mut watch) = client.watch(request).await {
        while let Ok(Some(message)) = watch.next().await {
            update(bar, &message);
        }
    }
    std::future::pending().await
}
