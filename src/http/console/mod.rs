//! `/console`: the web console. Its files are embedded; it reads and writes through the public API alone, with access
//! tokens that `session` gives to its page. What the page does belongs in `console/`.

mod assets;
mod cookie;
mod files;
mod page;
mod same_origin;
mod session;

use axum::Extension;
use axum::http::Method;
use axum::routing::{MethodRouter, get, post};

use super::state::HttpState;
use crate::config::HttpSettings;

pub(super) use page::PATH;

/// The routes, with the method that each answers.
pub(super) fn routes(settings: &HttpSettings) -> Vec<(Method, String, MethodRouter<HttpState>)> {
    if !settings.console {
        return Vec::new();
    }
    let page = get(page::page).layer(Extension(page::Page::new(settings)));
    let assets = get(assets::asset).layer(Extension(assets::Assets::default()));
    vec![
        (Method::GET, PATH.to_owned(), page.clone()),
        (Method::GET, format!("{PATH}/{{*page}}"), page),
        (Method::GET, format!("{PATH}/assets/{{build}}/{{*file}}"), assets),
        (Method::POST, format!("{PATH}/login"), post(session::log_in)),
        (Method::POST, format!("{PATH}/token"), post(session::renew)),
        (Method::POST, format!("{PATH}/logout"), post(session::log_out)),
    ]
}
