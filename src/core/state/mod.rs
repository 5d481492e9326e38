//! State: values of this process that survive the JavaScript module graph.
