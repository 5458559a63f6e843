//! Logins and sign-ups, whose password hash takes nearly all of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aegis::config::PasswordSettings;
use aegis::crypto::{HashSource, Password};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use async_trait::async_trait;
use serde_json::json;

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::load_generator::{Requests, requests_per_second};
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;
use crate::users::{email, username};

const PASSWORD: &str = "a violin under seven bridges";
/// Users who log in, in turn.
const USERS: u64 = 64;
const DIGEST_BYTES: usize = 32;

pub(crate) static LOGINS: Benchmark = Benchmark {
    name: "logins",
    unit: "requests/s",
    meaning: "POST /auth/login/access-token on 64 connections (closed loop), with the default costs of passwords; the \
         baseline is bare hashes of the same costs, on as many threads as the service has for them",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtLeast(0.95),
    prepare: |scratch, _| Box::pin(prepare_logins(scratch)),
};

pub(crate) static SIGN_UPS: Benchmark = Benchmark {
    name: "sign_ups",
    unit: "requests/s",
    meaning: "POST /auth/signup likewise; the baseline is the same",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtLeast(0.9),
    prepare: |scratch, _| Box::pin(prepare_sign_ups(scratch)),
};

struct HashedRequests {
    service: Service,
    requests: Requests,
    threads: usize,
    params: Params,
}

async fn prepare_logins(scratch: &ScratchDatabases) -> Prepared {
    let service = Service::start(&scratch.database().await?).await?;
    let hash = service.app().hashing.hash(Password::new(PASSWORD.to_owned()), HashSource::Unlimited).await;
    let hash = hash.map_err(BenchError::invalid)?;
    service.register_users(USERS, &hash).await?;
    compared(service, Arc::new(|number| login(number % USERS)))
}

async fn prepare_sign_ups(scratch: &ScratchDatabases) -> Prepared {
    // Those of a round follow those of the last one.
    let next = AtomicU64::new(0);
    let requests = move |_| sign_up(next.fetch_add(1, Ordering::Relaxed));
    compared(Service::start(&scratch.database().await?).await?, Arc::new(requests))
}

fn compared(service: Service, requests: Requests) -> Prepared {
    let PasswordSettings { memory_kib, iterations, parallelism, threads, .. } =
        service.app().settings.passwords;
    let params = Params::new(memory_kib, iterations, parallelism, Some(DIGEST_BYTES));
    prepared(HashedRequests { service, requests, threads, params: params.map_err(BenchError::invalid)? })
}

fn login(number: u64) -> Vec<u8> {
    let form = format!("username={}&password={}", email(number), PASSWORD.replace(' ', "+"));
    post("/api/v1/auth/login/access-token", "application/x-www-form-urlencoded", &form)
}

fn sign_up(number: u64) -> Vec<u8> {
    let (email, username) = (email(number), username(number));
    let body = json!({ "email": email, "username": username, "password": PASSWORD }).to_string();
    post("/api/v1/auth/signup", "application/json", &body)
}

fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

#[async_trait]
impl Comparison for HashedRequests {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let value = requests_per_second(self.service.address(), &self.requests, slice).await?;
        let hashers: Vec<_> = (0..self.threads)
            .map(|_| {
                let (params, slice) = (self.params.clone(), slice.again());
                tokio::task::spawn_blocking(move || hash(params, &slice))
            })
            .collect();
        let mut baseline = 0.0;
        for hasher in hashers {
            baseline += hasher.await.map_err(BenchError::invalid)??;
        }
        Ok(Round { value, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.service.stop().await;
    }
}

/// Hashes until the slice is over; returns the hashes per second.
fn hash(params: Params, slice: &TimeSlice) -> Result<f64, BenchError> {
    let mut blocks = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (begun, mut count, mut digest) = (Instant::now(), 0, [0; DIGEST_BYTES]);
    while count == 0 || !slice.is_over() {
        slice.check()?;
        let hashed =
            argon2.hash_password_into_with_memory(PASSWORD.as_bytes(), &[7; 16], &mut digest, &mut blocks);
        hashed.map_err(BenchError::invalid)?;
        count += 1;
    }
    Ok(per_second(count, begun.elapsed()))
}
