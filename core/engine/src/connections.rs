//! What a frontend may ask about connections that outlive their users (`ssh -O`).

use crate::engine::Engine;
use bssh_protocol::connection::{ConnectionClose, ConnectionParams, ConnectionState, Ending};
use bssh_protocol::error::CallError;

impl Engine {
    /// `connection/check`.
    ///
    /// # Errors
    /// As `exec/start`; more than one node.
    pub async fn connection_check(
        &self,
        params: &ConnectionParams,
    ) -> Result<ConnectionState, CallError> {
        let (route, _) = self.one_route(&params.targets).await?;
        Ok(self.state_of(&route.key))
    }

    /// `connection/close`: what was there before.
    ///
    /// # Errors
    /// As [`Engine::connection_check`].
    pub async fn connection_close(
        &self,
        params: &ConnectionClose,
    ) -> Result<ConnectionState, CallError> {
        let (route, _) = self.one_route(&params.targets).await?;
        let before = self.state_of(&route.key);
        for connection in self.pool().retire(&route.key) {
            if params.ending == Ending::Now {
                connection.close().await;
            }
        }
        Ok(before)
    }

    fn state_of(&self, key: &str) -> ConnectionState {
        let (open, idle) = self.pool().along(key);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        ConnectionState { open: count(open), idle: count(idle) }
    }
}
