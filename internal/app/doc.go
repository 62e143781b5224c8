// Package app builds a connector from its Config, runs it and takes it down in reverse order.
//
// It also holds what only the whole process has: configuration, logging, probes, listeners. Nothing but cmd imports it.
package app
