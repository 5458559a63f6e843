//! The speed of `GET /users/me`.

use std::sync::Arc;

use async_trait::async_trait;
use domain::PasswordHash;

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::load_generator::{Requests, requests_per_second};
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;
use crate::users::PASSWORD_HASH;

/// Users whose tokens are used in turn.
const USERS: u64 = 1000;

pub(crate) static USERS_ME: Benchmark = Benchmark {
    name: "users_me",
    unit: "requests/s",
    meaning: "GET /users/me over HTTP/1.1 on 64 connections (closed loop), with the tokens of 1,000 users in turn; the \
         baseline is GET /health of the same service",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtLeast(0.7),
    prepare: |scratch, _| Box::pin(prepare(scratch)),
};

struct UsersMe {
    service: Service,
    requests: Requests,
    health: Requests,
}

async fn prepare(scratch: &ScratchDatabases) -> Prepared {
    let service = Service::start(&scratch.database().await?).await?;
    let users = service.register_users(USERS, &PasswordHash::from_stored(PASSWORD_HASH)).await?;
    let requests = users_me(service.tokens(users.iter().map(|user| (user.id, user.version)))?);
    let health = get("/api/v1/health", "");
    prepared(UsersMe { service, requests, health: Arc::new(move |_| health.clone()) })
}

/// `GET /users/me` with the tokens in turn.
pub(crate) fn users_me(tokens: Vec<String>) -> Requests {
    let with_token = |token| get("/api/v1/users/me", &format!("Authorization: Bearer {token}\r\n"));
    let requests: Vec<_> = tokens.into_iter().map(with_token).collect();
    let count = u64::try_from(requests.len()).unwrap_or(u64::MAX).max(1);
    Arc::new(move |number| {
        requests.get(usize::try_from(number % count).unwrap_or_default()).cloned().unwrap_or_default()
    })
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

#[async_trait]
impl Comparison for UsersMe {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let value = requests_per_second(self.service.address(), &self.requests, slice).await?;
        let slice = slice.again();
        let baseline = requests_per_second(self.service.address(), &self.health, &slice).await?;
        Ok(Round { value, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.service.stop().await;
    }
}
