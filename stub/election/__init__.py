"""Which of several stubs is the active one: held by a lease that each of them renews, watches or takes over.

Promised, as long as no clock runs more than half again as fast as another:

- At no instant do two stubs hold the lease by their own clocks. A holder's validity is counted from the *start* of the last
  renewal that is known to have worked, and ends at the renew deadline. Another takes the lease only when it saw the record
  unchanged for a full lease duration, by its own clock, and writes on the condition that it still is unchanged.
- What the other side's clock says is never used: the times in the record are compared for equality only.
- The leading work runs inside the elector's scope and has ended before the lease is released or taken again.

Not promised: a lease does not fence. A process that is paused between looking at its deadline and sending goes on believing;
so the deadline is looked at for every request, and agents refuse the epoch (the lease's transitions) of an earlier holder.
Nor is there protection where somebody deletes the record under its holder and a stub starts in the moment behind that, which
cannot know that there was one: those that had seen it wait for a full lease.
"""
