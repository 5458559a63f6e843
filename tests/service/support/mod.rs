//! Test support: a service on either database, users that send requests, the real binary, and waiting with a
//! deadline.

mod actors;
mod app;
mod clock;
mod deployment;
mod dump;
mod json_schema;
mod legacy_service;
mod log;
mod logs;
mod metrics;
mod raw;
mod settings;
mod store;

pub(crate) use actors::{MachineToken, PASSWORD, User, credentials, email_of, sign_up_request};
pub(crate) use app::TestApp;
pub(crate) use clock::TestClock;
pub(crate) use deployment::Deployment;
pub(crate) use dump::{contains_text, dump, raw_bytes_without};
pub(crate) use json_schema::JsonSchema;
pub(crate) use legacy_service::{LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, sign_token};
pub(crate) use log::assert_no_gap;
pub(crate) use logs::captured_logs;
pub(crate) use metrics::{metric, metrics};
pub(crate) use raw::raw;
pub(crate) use store::Store;
pub(crate) use testkit::service::{
    Client, DEFAULT_TIMEOUT, MASTER_KEY, ReceivedDelivery, Reply, Request, Response, SECRET_KEY, SseItem,
    WebhookReceiver, eventually, run_test,
};

/// Declares the test functions of a module for both databases. A function missing from the list is dead code,
/// which the lints reject.
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

/// Declares tests that apply to one database only, for example because several nodes share it.
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
