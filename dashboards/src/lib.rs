//! From summaries and findings to charts and pages; pure functions.

pub mod alert_pages;
pub mod assets;
pub mod demo_pages;
pub mod kpis;
pub mod overview;
pub mod report;
pub mod shadow;
pub mod texts;

/// What every page shows around its content.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Place in the navigation: `overview`, `kpis`, `shadow`, `reports`, `alerts`, `mailbox`, `webhooks`.
    pub here: &'static str,
    /// Whether the demo's pages exist, and the numbers are made by a simulator.
    pub demo: bool,
    /// Event time's clock, readable.
    pub now: String,
}

/// A page that could not be rendered; the template is part of the program, so this is a defect.
#[derive(Debug)]
pub struct RenderError(pub String);

impl From<askama::Error> for RenderError {
    fn from(error: askama::Error) -> Self {
        Self(error.to_string())
    }
}
