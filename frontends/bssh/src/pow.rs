//! tokio's threaded scheduler, which is linked but never runs here, is all that calls pow(3). From
//! the executable itself it takes no libm to find, map and bind at each start.

#[allow(unsafe_code, reason = "the same function under its own name")]
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
