//! Random numbers.

use super::*;

#[test]
fn random_is_from_zero_to_one_and_varies() {
    let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
    assert!(drawn.iter().all(|factor| (0.0..1.0).contains(factor)));
    assert!(drawn.iter().any(|factor| *factor < 0.5) && drawn.iter().any(|factor| *factor > 0.5));
}
