//! Whether new clients are served, for `/readyz`, the status and the metrics.
#![forbid(unsafe_code)]

use crate::monitor::generation::Generations;
use crate::monitor::lifecycle::Lifecycle;
use crate::monitor::programs::Programs;
use crate::monitor::workers::Engines;

/// Why new clients are not served; `None`: they are.
pub(in crate::monitor) fn unready(
    lifecycle: &Lifecycle,
    engines: &Engines,
    generations: &Generations,
    programs: &Programs,
) -> Option<&'static str> {
    if !lifecycle.is_serving() {
        return Some("stopping");
    }
    if !lifecycle.is_ready() || !engines.can_serve(generations) {
        return Some("no engine");
    }
    let config = &generations.current().config;
    (!programs.can_serve(config)).then_some("no backend has an address")
}

/// The text for who asks whether new clients are served, if they are: also which backends are away because their
/// names do not resolve.
pub(in crate::monitor) fn ready_text(programs: &Programs) -> String {
    let away = programs.names().filter(|(_, addresses)| *addresses == 0);
    let away = away.map(|(name, _)| format!("backend {name}: name does not resolve\n"));
    std::iter::once("ready\n".to_owned()).chain(away).collect()
}
