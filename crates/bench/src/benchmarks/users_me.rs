//! The speed of `GET /users/me`.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{EmailAddress, PasswordHash, UserCommand, Username};
use futures::future::try_join_all;

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::load_generator::{Requests, requests_per_second};
use crate::registrations::PASSWORD_HASH;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// Users whose tokens are used in turn.
const USERS: usize = 1000;

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
    let tokens = try_join_all((0..USERS).map(|number| token(&service, number))).await?;
    let with_token = |token| request("/api/v1/users/me", &format!("Authorization: Bearer {token}\r\n"));
    let users_me: Vec<_> = tokens.into_iter().map(with_token).collect();
    let services = service.services()?;
    services.user_rows.wait_until_visible(services.store.progress().head).await;
    let users = u64::try_from(users_me.len()).unwrap_or(1);
    let of_user = move |number| {
        users_me.get(usize::try_from(number % users).unwrap_or_default()).cloned().unwrap_or_default()
    };
    let health = request("/api/v1/health", "");
    prepared(UsersMe { service, requests: Arc::new(of_user), health: Arc::new(move |_| health.clone()) })
}

fn request(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// The token of a new user.
async fn token(service: &Service, number: usize) -> Result<String, BenchError> {
    let services = service.services()?;
    let registration = UserCommand::Register {
        email: EmailAddress::parse(&format!("user-{number}@example.com")).map_err(BenchError::invalid)?,
        username: Username::parse(&format!("User {number}")).map_err(BenchError::invalid)?,
        password_hash: Some(PasswordHash::from_stored(PASSWORD_HASH)),
    };
    let user = services.users.register("bench", None, registration).await?;
    let issued = service.app().tokens.issue(user.id, user.version, services.store.identity().epoch);
    Ok(issued.map_err(BenchError::invalid)?.token)
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
