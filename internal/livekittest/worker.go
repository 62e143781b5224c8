package livekittest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// AgentWorkerOptions describe a worker.
type AgentWorkerOptions struct {
	// AgentName is the name that dispatches ask for. Empty takes the jobs of all rooms that asked for nobody.
	AgentName string
	// Refuse makes the worker decline every job.
	Refuse bool
}

// Job is a job that an AgentWorker took: its agent is in the room as a participant of kind AGENT.
type Job struct {
	*livekit.Job
	Agent *Participant
}

// AgentWorker is a worker process as the agent frameworks have it, without their runtime: it registers on the server's
// /agent WebSocket, is offered jobs, takes them and joins their rooms with the tokens it is given.
type AgentWorker struct {
	server  *Server
	options AgentWorkerOptions
	conn    *websocket.Conn
	jobs    *journal[*Job]
	done    chan struct{} // closed when the read loop ended
	err     error         // why; read after done

	writing sync.Mutex // gorilla allows one writer
	joining sync.WaitGroup
}

// StartAgentWorker registers a worker; jobs may come when it returns. End it with Close.
func (s *Server) StartAgentWorker(ctx context.Context, options AgentWorkerOptions) (*AgentWorker, error) {
	token, err := auth.NewAccessToken(s.apiKey, s.apiSecret).
		SetVideoGrant(&auth.VideoGrant{Agent: true}).SetValidFor(apiTokenValidity).ToJWT()
	if err != nil {
		return nil, fmt.Errorf("sign worker token: %w", err)
	}
	header := http.Header{"Authorization": []string{"Bearer " + token}}
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, s.URL()+"/agent?protocol=1", header)
	if err != nil {
		return nil, fmt.Errorf("connect agent worker: %w", err)
	}
	_ = resp.Body.Close()
	w := &AgentWorker{server: s, options: options, conn: conn, jobs: newJournal[*Job](), done: make(chan struct{})}
	if err = w.register(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go w.run()
	return w, nil
}

func (w *AgentWorker) register() error {
	err := w.write(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_Register{Register: &livekit.RegisterWorkerRequest{
		Type: livekit.JobType_JT_ROOM, AgentName: w.options.AgentName, Version: "1.0.0",
		AllowedPermissions: &livekit.ParticipantPermission{
			CanPublish: true, CanSubscribe: true, CanPublishData: true, CanUpdateMetadata: true,
		},
	}}})
	if err != nil {
		return fmt.Errorf("register agent worker: %w", err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(joinTimeout))
	msg, err := w.read()
	if err != nil {
		return fmt.Errorf("register agent worker: %w", err)
	}
	if msg.GetRegister() == nil {
		return fmt.Errorf("register agent worker: got %T", msg.GetMessage())
	}
	_ = w.conn.SetReadDeadline(time.Time{})
	available := livekit.WorkerStatus_WS_AVAILABLE
	return w.write(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_UpdateWorker{
		UpdateWorker: &livekit.UpdateWorkerStatus{Status: &available},
	}})
}

// run answers the server until the socket closes.
func (w *AgentWorker) run() {
	defer close(w.done)
	for {
		msg, err := w.read()
		if err != nil {
			w.err = err
			return
		}
		switch m := msg.GetMessage().(type) {
		case *livekit.ServerMessage_Availability:
			job := m.Availability.Job
			err = w.write(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_Availability{
				Availability: &livekit.AvailabilityResponse{
					JobId: job.Id, Available: !w.options.Refuse,
					ParticipantIdentity: "agent-" + job.Id, ParticipantName: w.options.AgentName,
				},
			}})
		case *livekit.ServerMessage_Assignment:
			w.joining.Go(func() { w.take(m.Assignment) })
		case *livekit.ServerMessage_Termination:
			w.leave(m.Termination.JobId)
		}
		if err != nil {
			w.err = err
			return
		}
	}
}

// take joins the room of a job.
func (w *AgentWorker) take(assignment *livekit.JobAssignment) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*joinTimeout)
	defer cancel()
	job := &Job{Job: assignment.Job}
	status := &livekit.UpdateJobStatus{JobId: assignment.Job.Id, Status: livekit.JobStatus_JS_RUNNING}
	agent, err := w.server.Join(ctx, ParticipantOptions{Room: assignment.Job.GetRoom().GetName(), Token: assignment.Token})
	if err != nil {
		status.Status, status.Error = livekit.JobStatus_JS_FAILED, err.Error()
	}
	job.Agent = agent
	_ = w.write(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_UpdateJob{UpdateJob: status}})
	w.jobs.append(job)
}

func (w *AgentWorker) leave(jobID string) {
	jobs, _ := w.jobs.snapshot(0)
	for _, job := range jobs {
		if job.Id == jobID && job.Agent != nil {
			_ = job.Agent.Leave()
		}
	}
}

// Jobs returns the jobs taken so far.
func (w *AgentWorker) Jobs() []*Job {
	jobs, _ := w.jobs.snapshot(0)
	return jobs
}

// WaitJob returns the first job, past or to come, in the given room. Its agent has joined, or Agent is nil.
func (w *AgentWorker) WaitJob(ctx context.Context, room string) (*Job, error) {
	return w.jobs.wait(ctx, func(j *Job) bool { return j.GetRoom().GetName() == room })
}

// WaitJobs returns when n jobs of the room were taken.
func (w *AgentWorker) WaitJobs(ctx context.Context, room string, n int) ([]*Job, error) {
	var found []*Job
	_, err := w.jobs.wait(ctx, func(j *Job) bool {
		if j.GetRoom().GetName() == room {
			found = append(found, j)
		}
		return len(found) >= n
	})
	return found, err
}

// Close unregisters the worker, takes its agents out of their rooms and waits for all of it.
func (w *AgentWorker) Close() error {
	err := w.conn.Close()
	<-w.done
	w.joining.Wait()
	for _, job := range w.Jobs() {
		if job.Agent != nil {
			err = errors.Join(err, job.Agent.Leave())
		}
	}
	return err
}

func (w *AgentWorker) write(msg *livekit.WorkerMessage) error {
	data, err := proto.Marshal(msg)
	if err != nil {
		return err
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(joinTimeout))
	return w.conn.WriteMessage(websocket.BinaryMessage, data)
}

func (w *AgentWorker) read() (*livekit.ServerMessage, error) {
	_, data, err := w.conn.ReadMessage()
	if err != nil {
		return nil, err
	}
	msg := &livekit.ServerMessage{}
	return msg, proto.Unmarshal(data, msg)
}
