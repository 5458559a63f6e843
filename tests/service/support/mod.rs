//! What the tests are written with: a service of one's own on either store, actors who send requests, the real binary,
//! and patience with a deadline.

mod actors;
mod app;
mod clock;
mod deployment;
mod dump;
mod legacy_service;
mod log;
mod logs;
mod raw;
mod settings;
mod store;

pub(crate) use actors::{PASSWORD, User, credentials, email_of};
pub(crate) use app::TestApp;
pub(crate) use clock::TestClock;
pub(crate) use deployment::Deployment;
pub(crate) use dump::{dump, raw_bytes_without};
pub(crate) use legacy_service::{LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, sign_token};
pub(crate) use log::assert_no_gap;
pub(crate) use logs::captured_logs;
pub(crate) use raw::raw;
pub(crate) use store::Store;
pub(crate) use testkit::service::{
    Client, DEFAULT_TIMEOUT, MASTER_KEY, ReceivedDelivery, Reply, Request, Response, SECRET_KEY, SseItem,
    WebhookReceiver, eventually, run_test,
};

/// Declares the test functions of a module for both stores, so that none can be forgotten on one of them: a function
/// that is missing in the list is dead code and does not pass the lints.
macro_rules! on_both_stores {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::support::run_test(super::$name(crate::support::Store::sqlite())).await;
            })+
        }
        mod mongo {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::support::run_test(super::$name(crate::support::Store::mongo().await)).await;
            })+
        }
    };
}

/// The same for tests that only mean something where several machines share a database, or only on one store.
macro_rules! on_one_store {
    ($store:ident: $($name:ident)+) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::support::run_test(super::$name()).await;
            })+
        }
    };
}

pub(crate) use {on_both_stores, on_one_store};
