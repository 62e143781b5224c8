package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

func TestCompanyInTheCallsWords(t *testing.T) {
	for company, want := range map[roomleg.Company]call.Company{
		{}:                                     call.CompanyNone,
		{Met: true}:                            call.CompanyLeft,
		{Present: true, Met: true}:             call.CompanyPresent,
		{Met: true, Away: true}:                call.CompanyUnknown,
		{Present: true, Met: true, Away: true}: call.CompanyUnknown,
	} {
		require.Equal(t, want, companyOf(company), "%+v", company)
	}
}
