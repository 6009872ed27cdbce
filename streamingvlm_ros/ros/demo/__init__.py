"""The demo's synthetic camera, and the listener that receives its captions and the narrations."""
