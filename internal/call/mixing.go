package call

// Mixing says whether one direction of the call's audio at least is decoded and encoded now.
func (c *Call) Mixing() bool {
	c.mu.Lock()
	toRoom := c.toRoom
	c.mu.Unlock()
	return c.line.Mixing() || toRoom != nil && toRoom.Mixing()
}
