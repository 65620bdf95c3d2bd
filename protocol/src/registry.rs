//! The core's methods: typed handlers on a jsonrpsee `RpcModule`, and the [`Service`] that runs
//! them on a link.
//!
//! ```no_run
//! # use bssh_protocol::{registry::*, methods, error::CallError, handshake::{Empty, Pong}};
//! # struct Core; fn clock() -> u64 { 0 }
//! let mut module = RpcModule::new(Core);
//! register::<methods::CorePing, _, _, _>(&mut module, |core, call, Empty {}| async move {
//!     call.then(async { /* runs right after the answer was queued */ });
//!     Ok(Pong { unix_ms: clock() })
//! });
//! let router = Router::new(module); // hand it to Link::start, one per link
//! ```
//!
//! jsonrpsee gives the registry and the response objects; its clients, servers and subscriptions
//! are not used, because they know no stdio, no reverse requests and no cancellation.

use crate::error::{CallError, Kind};
use crate::link::{Answering, Link, Notification, Reply, Request, Service};
use crate::lock;
use crate::methods::{Initialize, Method};
use crate::params;
use futures_util::future::{BoxFuture, FutureExt};
use jsonrpsee::types::{ErrorObjectOwned, Id, Params};
use jsonrpsee::{ConnectionId, Extensions, MethodCallback, Methods};
use serde_json::value::RawValue;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// jsonrpsee's registry of methods, with the context its handlers share.
pub type RpcModule<Context> = jsonrpsee::RpcModule<Context>;

/// What a handler may use beside its context and params.
#[derive(Clone)]
pub struct Call {
    /// The link the request came on.
    pub link: Link,
    gate: Arc<Gate>,
    then: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl Call {
    /// Runs `work` once the answer was queued (not after an error): what it sends follows the
    /// answer. It is dropped with the link.
    pub fn then(&self, work: impl Future<Output = ()> + Send + 'static) {
        *lock(&self.then) = Some(work.boxed());
    }

    /// For the handler of `initialize`: from now on every method is served.
    pub fn greeted(&self, strict: bool) {
        self.gate.open.store(true, Relaxed);
        self.gate.strict.store(strict, Relaxed);
    }
}

#[derive(Default)]
struct Gate {
    open: AtomicBool,
    strict: AtomicBool,
}

/// Registers the handler of a method. A second handler for a method replaces nothing: the first
/// one stays.
pub fn register<M, Ctx, F, Fut>(module: &mut RpcModule<Ctx>, handler: F)
where
    M: Method,
    Ctx: Send + Sync + 'static,
    F: Fn(Arc<Ctx>, Call, M::Params) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<M::Result, CallError>> + Send + 'static,
{
    let _ = module.register_async_method(M::NAME, move |text, context, mut extensions| {
        let handler = handler.clone();
        async move {
            let call = extensions.remove::<Call>().ok_or_else(|| outside(M::NAME))?;
            let strict = call.gate.strict.load(Relaxed);
            let text = text.as_str().unwrap_or("{}");
            let params = params::read::<M::Params>(text.as_bytes(), strict).map_err(object)?;
            let result = handler(context, call, params).await.map_err(object)?;
            serde_json::value::to_raw_value(&result).map_err(|e| {
                let text = format!("cannot write the result of {}: {e}", M::NAME);
                object(CallError::new(Kind::Internal, text))
            })
        }
    });
}

fn outside(method: &str) -> ErrorObjectOwned {
    object(CallError::new(Kind::Internal, format!("{method} was called without a link")))
}

fn object(error: CallError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(error.code, error.message, error.data)
}

/// Runs a registry's methods on one link: `initialize` first, unknown methods refused, unknown
/// notifications ignored.
pub struct Router {
    methods: Methods,
    gate: Arc<Gate>,
}

impl Router {
    /// A router for one link. Registries are cheap to clone: one serves all links.
    pub fn new(methods: impl Into<Methods>) -> Self {
        Router { methods: methods.into(), gate: Arc::default() }
    }

    fn answer(&self, link: &Link, request: Request) -> BoxFuture<'static, Reply> {
        let callback = match self.methods.method(&request.method) {
            Some(MethodCallback::Async(callback)) => Some(callback.clone()),
            _ => None,
        };
        let gate = self.gate.clone();
        let call = Call { link: link.clone(), gate: gate.clone(), then: Arc::default() };
        async move {
            if !gate.open.load(Relaxed) && *request.method != *Initialize::NAME {
                let text = "the first request of a link is initialize";
                return Reply::new(Err::<(), _>(CallError::new(Kind::NotInitialized, text)));
            }
            let Some(callback) = callback else { return Reply::unknown_method(&request) };
            let text = std::str::from_utf8(&request.params);
            let (Ok(id), Ok(text)) = (serde_json::from_str::<Id<'_>>(&request.id), text) else {
                let text = "the id or the params cannot be read";
                return Reply::new(Err::<(), _>(CallError::new(Kind::InvalidRequest, text)));
            };
            let mut extensions = Extensions::new();
            extensions.insert(call.clone());
            let (id, params) = (id.into_owned(), Params::new(Some(text)).into_owned());
            let response = callback(id, params, ConnectionId(0), usize::MAX, extensions).await;
            let served = response.is_success();
            let then = lock(&call.then).take();
            let text: Box<RawValue> = response.into_json();
            Reply::response(text).then(then.filter(|_| served))
        }
        .boxed()
    }
}

impl Service for Router {
    fn request(&self, link: &Link, request: Request) -> Answering {
        self.answer(link, request)
    }

    fn notification(&self, _: &Link, _: Notification) {}
}
