/* Poll: often while things change, rarely while they do not, and never in a hidden tab. */

const SHORTEST = 200; // milliseconds
const GROWTH = 1.5;

export class Watch {
  #look;
  #longest;
  #delay = SHORTEST;
  #timer = null;
  #isLooking = false;
  #lookAgain = false;

  /**
   * `look` is awaited. It returns whether it found something new, or null to stop until `wake`.
   * `longest()` returns the longest pause, in milliseconds.
   */
  constructor(look, longest) {
    this.#look = look;
    this.#longest = longest;
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Look at once, and soon again. */
  wake() {
    this.#delay = SHORTEST;
    if (this.#isLooking) this.#lookAgain = true;
    else this.#schedule(0);
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#run(), delay);
  }

  async #run() {
    this.#isLooking = true;
    const found = await this.#look();
    this.#isLooking = false;
    if (this.#lookAgain || found) this.#delay = SHORTEST;
    else this.#delay = Math.min(this.#delay * GROWTH, this.#longest());
    if (this.#lookAgain || found !== null) this.#schedule(this.#lookAgain ? 0 : this.#delay);
    this.#lookAgain = false;
  }
}
