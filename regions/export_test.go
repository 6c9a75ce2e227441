package regions

import "context"

// Undecided are operations that forget to ask: one that answers at once, one that goes on without a decision.
func Undecided() []Operation {
	return []Operation{
		row("DescribeKey", ClassRead, func(context.Context, *Region, *Call, *struct{}) (*struct{}, error) {
			return &struct{}{}, nil
		}),
		row("EnableKey", ClassManage, func(ctx context.Context, r *Region, c *Call, _ *struct{}) (*struct{}, error) {
			return &struct{}{}, r.proceed(ctx, c)
		}),
	}
}
