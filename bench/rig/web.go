package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// Fetch copies what a URL answers to w. Another status than 200 is an error.
func Fetch(ctx context.Context, url string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	_, err = io.Copy(w, res.Body)
	return err
}

// Save keeps what a URL answers as a file.
func Save(ctx context.Context, url, file string) error {
	f, err := os.Create(file) //nolint:gosec // where the operator wants it
	if err != nil {
		return err
	}
	return errors.Join(Fetch(ctx, url, f), f.Close())
}
