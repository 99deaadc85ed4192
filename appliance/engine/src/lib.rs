//! Composition: cores, drives, pools, target; executes control messages.
