package fakemeta

import "net/http"

// Control is provisional.
func (s *Server) Control() http.Handler { return http.NewServeMux() }
