package soak

import "math"

// trend is how a quantity went with time, once what the number of calls explains is taken out.
type trend struct {
	// mean of the values, growth over the whole time that was looked at, and twice the standard error of that.
	mean, growth, margin float64
	// perCall is what one more call at once adds.
	perCall float64
}

// fit lays value = a + b*time + c*calls through samples, by least squares. Fewer than four samples have no trend.
func fit(at, calls, values []float64) (t trend) {
	n := float64(len(values))
	if n < 4 {
		return trend{mean: mean(values), margin: math.Inf(1)}
	}
	mt, mc, mv := mean(at), mean(calls), mean(values)
	var tt, cc, tc, tv, cv float64
	for i := range values {
		dt, dc, dv := at[i]-mt, calls[i]-mc, values[i]-mv
		tt, cc, tc, tv, cv = tt+dt*dt, cc+dc*dc, tc+dt*dc, tv+dt*dv, cv+dc*dv
	}
	det := tt*cc - tc*tc
	var b, c, variance float64
	if cc < 1e-9 || det < 1e-9*tt*cc { // the number of calls never changed, or with time alone
		b, variance = tv/tt, 1/tt
	} else {
		b, c, variance = (tv*cc-cv*tc)/det, (cv*tt-tv*tc)/det, cc/det
	}
	var rest float64
	for i := range values {
		r := values[i] - mv - b*(at[i]-mt) - c*(calls[i]-mc)
		rest += r * r
	}
	length := at[len(at)-1] - at[0]
	return trend{mean: mv, growth: b * length, margin: 2 * math.Sqrt(rest/(n-3)*variance) * length, perCall: c}
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
