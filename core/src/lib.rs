//! The words Leeway shares: events, measures, windows, panes, sketches, findings, notices; no I/O, no async.

pub mod alert;
pub mod call_key;
pub mod clock;
pub mod drift;
pub mod embedding;
pub mod event;
pub mod fnv;
pub mod hazard;
pub mod interval;
pub mod kpi;
pub mod labels;
pub mod ledger;
pub mod measure;
pub mod money;
pub mod moved;
pub mod pane;
pub mod policy;
pub mod price;
pub mod quality;
pub mod scan;
pub mod sketch;
pub mod special;
pub mod stamp;
pub mod table;
pub mod varint;
pub mod words;
