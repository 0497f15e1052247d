//! Files that pages load, embedded in the program: nothing comes from elsewhere.

#[derive(Debug, Clone, Copy)]
pub struct Asset {
    pub name: &'static str,
    pub mime: &'static str,
    pub bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

pub const ALL: [Asset; 7] = [
    Asset { name: "leeway.css", mime: CSS, bytes: include_bytes!("../assets/leeway.css") },
    Asset { name: "leeway.js", mime: JS, bytes: include_bytes!("../assets/leeway.js") },
    Asset { name: "icon.svg", mime: "image/svg+xml", bytes: include_bytes!("../assets/icon.svg") },
    Asset { name: "uPlot.min.css", mime: CSS, bytes: include_bytes!("../assets/vendor/uPlot.min.css") },
    Asset { name: "uPlot.iife.min.js", mime: JS, bytes: include_bytes!("../assets/vendor/uPlot.iife.min.js") },
    Asset { name: "htmx.min.js", mime: JS, bytes: include_bytes!("../assets/vendor/htmx.min.js") },
    Asset { name: "hx-sse.min.js", mime: JS, bytes: include_bytes!("../assets/vendor/hx-sse.min.js") },
];

pub fn find(name: &str) -> Option<Asset> {
    ALL.into_iter().find(|asset| asset.name == name)
}
