// Package regions is the domain: what a Region of Antipode is and does.
package regions
