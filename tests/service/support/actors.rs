//! Users that send requests, each with a token.

use domain::{Role, UserCommand, UserId};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Request, TestApp};

/// The password of every user of a test.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The e-mail address of a test user.
pub(crate) fn email_of(name: &str) -> String {
    format!("{name}@example.com")
}

/// The sign-up body of a test user.
pub(crate) fn credentials(name: &str) -> Value {
    json!({"email": email_of(name), "username": name, "password": PASSWORD})
}

/// A request that signs up a test user.
pub(crate) fn sign_up_request(client: &Client, name: &str) -> Request {
    client.post("/auth/signup").json(&credentials(name))
}

/// A signed-up user with an access token.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    client: Client,
}

impl User {
    /// The same user as a client of another node.
    pub(crate) fn at(&self, node: &Client) -> Self {
        Self { client: node.clone(), ..self.clone() }
    }

    /// The same user with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        self.client.request(method, path).bearer(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// Deactivates another user, as an administrator.
    pub(crate) fn deactivate(&self, id: &str) -> Request {
        self.post(&format!("/users/{id}/deactivate")).json(&json!({"reason": "requested by a test"}))
    }

    /// Reactivates another user, as an administrator.
    pub(crate) fn reactivate(&self, id: &str) -> Request {
        self.post(&format!("/users/{id}/reactivate")).json(&json!({"reason": "requested by a test"}))
    }

    /// The user resource, as an administrator sees it.
    pub(crate) async fn look_up(&self, id: &str) -> Value {
        self.get(&format!("/users/{id}")).send().await.expect(200).json()
    }

    /// Every event that this user may see, read in pages.
    pub(crate) async fn whole_log(&self) -> Vec<Value> {
        self.paged("/events?", 1000).await
    }

    /// Every event that matches a query, read page by page along `next`.
    pub(crate) async fn paged(&self, query: &str, limit: usize) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page =
                self.get(&format!("{query}&after={after}&limit={limit}")).send().await.expect(200).json();
            let found = page["events"].as_array().unwrap();
            assert!(found.len() <= limit, "a page of {} events", found.len());
            events.extend(found.iter().cloned());
            let next = page["next"].as_u64().unwrap();
            assert!(next >= after, "`next` decreases from {after} to {next}");
            if next >= page["head"].as_u64().unwrap() {
                return events;
            }
            assert!(next > after, "`next` stays at {after} below the head: {page}");
            after = next;
        }
    }
}

impl TestApp {
    /// Signs a user up and logs in.
    pub(crate) async fn sign_up(&self, name: &str) -> User {
        let answer = sign_up_request(self, name).send().await.expect(201).json();
        let id = answer["id"].as_str().unwrap().to_owned();
        let email = email_of(name);
        User { id, token: self.token_of(&email).await, email, client: (**self).clone() }
    }

    /// Logs in and returns the token.
    pub(crate) async fn token_of(&self, email: &str) -> String {
        let answer = self.log_in(email, PASSWORD).await.expect(200).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Signs up a user with the role that it is named after.
    pub(crate) async fn user_with(&self, role: Role) -> User {
        let user = self.sign_up(role.as_str()).await;
        self.grant(&user, role).await;
        user
    }

    /// Signs up an administrator.
    pub(crate) async fn admin(&self) -> User {
        self.user_with(Role::Admin).await
    }

    /// Grants a role, as the command line does.
    pub(crate) async fn grant(&self, user: &User, role: Role) {
        self.command(&user.id, UserCommand::GrantRole { role }).await;
    }

    /// Executes a command as an operator and waits until it is projected.
    pub(crate) async fn command(&self, id: &str, command: UserCommand) {
        let context = aegis::command::CommandContext::new("operator:test", "test");
        let services = self.services();
        let done = services.users.execute(&context, UserId::parse(id).unwrap(), &command).await.unwrap();
        if let Some(position) = done.position {
            services.user_rows.wait_until_visible(position).await;
        }
    }
}
