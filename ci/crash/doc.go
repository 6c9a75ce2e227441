// Package crash ends Antipode at each of its durable steps and looks at what is left: two `antipode serve` processes
// with tokens and stores of their own, one of them built with crash points, killed before or after one commit, started
// again, and compared. The tests are all there is.
package crash
