package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
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

func TestWhyARoomLegEndedInTheCallsWords(t *testing.T) {
	for err, want := range map[error]call.Reason{
		roomleg.ErrRoomDeleted:             call.ReasonRoomDeleted,
		roomleg.ErrRoomClosed:              call.ReasonRoomDeleted,
		roomleg.ErrRemoved:                 call.ReasonParticipantRemoved,
		roomleg.ErrDuplicateIdentity:       call.ReasonDuplicateIdentity,
		roomleg.ErrServerShutdown:          call.ReasonRoomLost,
		roomleg.ErrConnectionLost:          call.ReasonRoomLost,
		&panics.Error{Place: panics.Audio}: call.ReasonInternal,
	} {
		require.Equal(t, want, reasonOf(fmt.Errorf("a leg: %w", err)), "%v", err)
	}
}
